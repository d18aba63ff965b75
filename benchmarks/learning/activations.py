"""Activations under full load: no request may fail, and no answer may come from a version long gone."""

import asyncio
import time
from pathlib import Path

from benchmarks.learning.hand import Hand
from benchmarks.learning.load import Outcome, full
from benchmarks.learning.service import Service, new_home
from models.registry.registry import RELEASED, ModelRegistry, read

CALLERS, PAUSE_SECONDS = 16, 2.5


def measure(hand: Hand, data: Path, count: int) -> tuple[Outcome, float]:
    """What came of the load, and for how many seconds at most a version still took requests once another was active."""
    with new_home() as home:
        service = Service(home, data, INKLING_INITIAL_MODEL="convnet")
        try:
            other = read(RELEASED / "net")
            names = [ModelRegistry(home).write(other.network.state_dict(), other.manifest), "v1"]
            outcome, activated = asyncio.run(_activate(service, hand, names, count))
        finally:
            service.stop()
    return outcome, max(_late(answer, activated) for answer in outcome.answers)


async def _activate(
    service: Service, hand: Hand, names: list[str], count: int
) -> tuple[Outcome, list[tuple[float, float, str]]]:
    """The outcome, and each activation as (asked for, done, version)."""
    stop = asyncio.Event()
    load = asyncio.create_task(full(service.url, hand.pictures[:500], CALLERS, stop))
    activated = [(0.0, 0.0, "v1")]
    for number in range(count):
        await asyncio.sleep(PAUSE_SECONDS)
        name = names[number % 2]
        asked = time.monotonic()
        answer = await asyncio.to_thread(service.client.post, f"/models/{name}/activate")
        answer.raise_for_status()
        activated.append((asked, time.monotonic(), name))
    await asyncio.sleep(PAUSE_SECONDS)
    stop.set()
    return await load, activated


def _late(answer: tuple[float, float, str], activated: list[tuple[float, float, str]]) -> float:
    """Seconds from the end of its version to the sending of the request; infinite where it was never active before."""
    sent, answered, model = answer
    ends = [done for _, done, _ in activated[1:]] + [float("inf")]
    spans = [(asked, end) for (asked, _, name), end in zip(activated, ends, strict=True) if name == model]
    return min((max(0.0, sent - end) for begin, end in spans if begin <= answered), default=float("inf"))
