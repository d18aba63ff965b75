"""What a worker costs, in time until it is ready and in memory, how that grows, and what a second worker brings."""

import io
import os
import random
import subprocess
import sys
import time
from itertools import cycle, islice
from time import perf_counter

import httpx
import uvloop
from PIL import Image

from benchmarks import client, pictures, servers, wrk
from benchmarks.bounds.setting import Setting
from benchmarks.client import Answer, Request
from benchmarks.machine import BenchmarkError, say
from benchmarks.servers import Server
from benchmarks.tables import Target
from models.preprocessing.decode import FORMATS

SETTLED = 10_000
_RESIDENT = """
import os, torch, fastapi
print(int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
"""


def start(setting: Setting) -> list[Target]:
    """From the command to the first 200 of /health/ready, against what `import torch` alone takes."""
    _ready_seconds(setting)  # the first one reads files from the disk, and fills HOME
    ready, imports = [], []
    for number in range(1, setting.rounds + 1):
        ready.append(_ready_seconds(setting))
        imports.append(_import_seconds(setting))
        say(f"round {number} of {setting.rounds}: ready after {ready[-1]:.2f} s; import torch {imports[-1]:.2f} s")
    ratios = [ours / theirs for ours, theirs in zip(ready, imports, strict=True)]
    return [Target("start to ready against `import torch`", 2, 1.3, ratios, True, note=f"ready in {min(ready):.1f} s")]


def memory(setting: Setting) -> list[Target]:
    """A worker that has answered for a while, above a process that imported torch and fastapi and nothing else."""
    body = pictures.multipart(pictures.tile())
    with setting.inkling("memory") as server:
        server.first_answer("/predict", body)
        script = wrk.script(setting.folder, "memory", body)
        wrk.run(server.url + "/predict", script, 64, setting.seconds, {setting.load_core})
        worker = max(server.memory().values())
    found = subprocess.run([sys.executable, "-c", _RESIDENT], capture_output=True, text=True, check=True)
    note = f"{worker / 1e6:.0f} MB against {int(found.stdout) / 1e6:.0f}"
    say(f"memory: {note}")
    above = (worker - int(found.stdout)) / 1e6
    return [Target("a worker above torch and fastapi alone, MB", 80, 40, [above], True, "{:.0f}", note)]


def growth(setting: Setting) -> list[Target]:
    """Pictures of many kinds, good and bad, on 16 connections; after a tenth or so the memory should stay."""
    requests = _mixed()
    total, settled = setting.requests, min(SETTLED, setting.requests // 5)
    samples: list[tuple[int, int]] = []
    wrong: list[str] = []
    with setting.inkling("growth") as server:
        server.first_answer("/predict", pictures.multipart(pictures.tile()))
        done = 0
        while done < total:
            piece, turn = min(settled // 2, total - done), done % len(requests)
            answers = _send(server.port, requests[turn:] + requests[:turn], piece)
            done += len(answers)
            wrong += [f"{a.status} for {a.request.expected}" for a in answers if a.status != a.request.expected]
            samples.append((done, sum(server.memory().values())))
            say(f"{done:,} of {total:,} requests: {samples[-1][1] / 1e6:.1f} MB")
    if wrong:
        raise BenchmarkError(f"{len(wrong)} answers had another status than expected, first {wrong[0]}")
    first = next(resident for count, resident in samples if count >= settled)
    grown = max(resident for count, resident in samples if count >= settled) - first
    name = f"memory grown from request {settled:,} to {total:,}, MB"
    note = f"{first / 1e6:.0f} MB then"
    return [Target(name, 10, None, [grown / 1e6], True, "{:.1f}", note)]


def workers(setting: Setting) -> list[Target]:
    """Two workers against one, both cores shared with the load generator."""
    body, cores = pictures.multipart(pictures.tile()), {setting.server_core, setting.load_core}
    script = wrk.script(setting.folder, "workers", body)
    targets = []
    for model, name, target in (("net", "`net`", 1.4), ("convnet", "the default network", 1.6)):
        found: dict[str, Server] = {}
        rates: dict[str, list[float]] = {"1": [], "2": []}
        try:
            for count in rates:
                variables = {"INITIAL_MODEL": model, "WORKERS": count}
                found[count] = servers.inkling(f"{model}-{count}", setting.folder, cores, **variables)
                found[count].first_answer("/predict", body)
                wrk.run(found[count].url + "/predict", script, 64, 1, cores)
                found[count].halt()
            for number in range(1, setting.rounds + 1):
                for count, server in found.items():
                    server.resume()
                    rates[count].append(wrk.run(server.url + "/predict", script, 64, setting.seconds, cores).rate)
                    server.ask("/predict", body)
                    server.halt()
                    say(f"round {number} of {setting.rounds}: {name}, {count} worker(s): {rates[count][-1]:,.0f}/s")
        finally:
            for server in found.values():
                server.stop()
        ratios = [two / one for one, two in zip(rates["1"], rates["2"], strict=True)]
        targets.append(Target(f"two workers against one, {name}", target, None, ratios))
    return targets


def _ready_seconds(setting: Setting) -> float:
    started = perf_counter()
    with setting.inkling("start") as server, httpx.Client(timeout=5) as asking:
        while server.process.poll() is None and perf_counter() - started < 90:
            try:
                if asking.get(f"{server.url}/health/ready").status_code == 200:
                    return perf_counter() - started
            except httpx.TransportError:
                time.sleep(0.005)
        raise BenchmarkError(f"Inkling was not ready in 90 s; its log: {server.log.read_text(errors='replace')[-500:]}")


def _import_seconds(setting: Setting) -> float:
    started = perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import torch"],
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {setting.server_core}),
    )
    return perf_counter() - started


def _send(port: int, requests: list[Request], count: int) -> list[Answer]:
    """So many or a few more, on 16 connections."""
    return uvloop.run(client.closed(port, requests, 16, lambda done: done < count))


def _mixed() -> list[Request]:
    """Five hundred requests: pictures of all formats and several sizes, one photograph, and one in ten a bad one."""
    tile = pictures.tile()
    with Image.open(pictures.SEVEN) as seven:
        formats = [_encoded(seven.resize((side, side)), kind) for side in (28, 100, 400) for kind in FORMATS]
        clear = seven.convert("RGBA")
        clear.putalpha(seven.point(lambda value: 255 - value))
        blank = _encoded(Image.new("L", seven.size, 255), "PNG")
    good = [pictures.multipart(tile), pictures.raw(tile), pictures.multipart(_encoded(clear, "PNG"))]
    good += [pictures.raw(data, "application/octet-stream") for data in formats]
    bad = [
        (400, pictures.raw(b"")),
        (415, pictures.raw(b"no picture at all")),
        (422, pictures.raw(tile[: len(tile) // 2])),
        (422, pictures.raw(blank)),
        (422, pictures.multipart(tile, field="picture")),
    ]
    requests = [client.post("/predict", body) for body in islice(cycle(good), 449)]
    requests += [client.post("/predict", body, status) for status, body in islice(cycle(bad), 50)]
    requests.append(client.post("/predict", pictures.raw(pictures.photograph(), "image/jpeg")))
    random.Random(0).shuffle(requests)
    return requests


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()
