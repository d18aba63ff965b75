"""Activations under full load: every request is answered, and soon none by the version before."""

import asyncio
import json
import time
from pathlib import Path

import uvloop

from benchmarks import client, pictures
from benchmarks.client import Answer
from benchmarks.learning.hand import Hand
from benchmarks.learning.service import home, new_folder, serve
from benchmarks.servers import Server
from models.registry.registry import RELEASED, ModelRegistry
from models.registry.version_files import read

CALLERS, PAUSE_SECONDS = 16, 2.5

Activation = tuple[float, float, str]
"""When it was asked for, when it was done, and the version."""


def measure(hand: Hand, data: Path, count: int) -> tuple[list[Answer], float]:
    """The answers, and for how many seconds at most a version took requests once another was active."""
    with new_folder() as folder, serve(folder, data, INITIAL_MODEL="convnet") as server:
        other = read(RELEASED / "net")
        written = ModelRegistry(home(folder)).write(other.network().state_dict(), other.manifest, other.compiled)
        names = [written, "v1"]
        answers, activated = uvloop.run(_activate(server, hand, names, count))
    return answers, max(_late(answer, activated) for answer in answers if answer.status == 200)


async def _activate(server: Server, hand: Hand, names: list[str], count: int) -> tuple[list[Answer], list[Activation]]:
    stop = asyncio.Event()
    requests = [client.post("/predict", pictures.raw(picture)) for picture in hand.pictures[:500]]
    load = asyncio.create_task(client.closed(server.port, requests, CALLERS, lambda answers: not stop.is_set()))
    activated = [(0.0, 0.0, "v1")]
    for number in range(count):
        await asyncio.sleep(PAUSE_SECONDS)
        name = names[number % 2]
        asked = time.perf_counter()
        answer = await asyncio.to_thread(server.client.post, f"/models/{name}/activate")
        answer.raise_for_status()
        activated.append((asked, time.perf_counter(), name))
    await asyncio.sleep(PAUSE_SECONDS)
    stop.set()
    return await load, activated


def _late(answer: Answer, activated: list[Activation]) -> float:
    """Seconds from the end of the answer's version to the request; infinite if that version was never active before."""
    model = json.loads(answer.body)["model"]
    ends = [done for _, done, _ in activated[1:]] + [float("inf")]
    spans = [(asked, end) for (asked, _, name), end in zip(activated, ends, strict=True) if name == model]
    return min((max(0.0, answer.sent - end) for begin, end in spans if begin <= answer.ended), default=float("inf"))
