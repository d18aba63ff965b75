"""What a service costs: seconds until it is ready, growth of memory, a second worker, and the command line."""

import contextlib
import random
import subprocess
import sys
from itertools import cycle, islice
from time import perf_counter

import uvloop
from PIL import Image

from benchmarks import client, pictures, servers, wrk
from benchmarks.bounds.setting import Setting
from benchmarks.client import Request
from benchmarks.machine import ROOT, BenchmarkError, say
from benchmarks.pictures import encode
from benchmarks.servers import Server
from benchmarks.tables import Target, spread
from models.preprocessing.file_structure import FORMATS

SETTLED = 10_000
_INKLING = [sys.executable, str(ROOT / "inkling.py")]


def start(setting: Setting) -> list[Target]:
    """From the command to the first 200 of /health/ready, relative to `import torch` alone."""
    _ready_seconds(setting)  # reads files from the disk for the first time, and fills HOME
    ready, imports = [], []
    for number in range(1, setting.rounds + 1):
        ready.append(_ready_seconds(setting))
        imports.append(_command_seconds(setting, [sys.executable, "-c", "import torch"]))
        say(f"round {number} of {setting.rounds}: ready after {ready[-1]:.2f} s; import torch {imports[-1]:.2f} s")
    ratios = [ours / theirs for ours, theirs in zip(ready, imports, strict=True)]
    return [Target("start to ready / `import torch`", 0.5, 0.3, ratios, True, note=f"ready in {min(ready):.1f} s")]


def shell(setting: Setting) -> list[Target]:
    """Seconds from the start of a command to its end, after a first run that is not counted."""
    front, predict = (
        [_command_seconds(setting, [*_INKLING, *arguments]) for _ in range(setting.rounds + 1)][1:]
        for arguments in (["--help"], ["predict", str(pictures.SEVEN)])
    )
    note = f"`inkling predict FILE`: {spread(predict, '{:.2f}')} s"
    return [Target("`inkling --help`, s", 0.3, None, front, at_most=True, note=note)]


def growth(setting: Setting) -> list[Target]:
    """Images of many kinds, valid and broken, on 16 connections: after the first ones memory should not grow."""
    requests = _mixed()
    total, settled = setting.requests, max(1, min(SETTLED, setting.requests // 5))
    samples: list[tuple[int, int]] = []
    wrong: list[str] = []
    with setting.inkling("growth") as server:
        server.first_answer("/predict", pictures.multipart(pictures.tile()))
        done = 0
        while done < total:
            count, turn = min(-(-settled // 2), total - done), done % len(requests)
            rotated = requests[turn:] + requests[:turn]
            answers = uvloop.run(client.closed(server.port, rotated, 16, lambda sent, count=count: sent < count))
            done += len(answers)
            wrong += [f"{a.status} for {a.request.expected}" for a in answers if a.status != a.request.expected]
            samples.append((done, sum(server.memory())))
            say(f"{done:,} of {total:,} requests: {samples[-1][1] / 1e6:.1f} MB")
    if wrong:
        raise BenchmarkError(f"{len(wrong)} answers had another status than expected, first {wrong[0]}")
    sizes = [size for count, size in samples if count >= settled]
    name = f"growth of resident memory from request {settled:,} to {total:,}, MB"
    return [Target(name, 10, None, [(max(sizes) - sizes[0]) / 1e6], True, "{:.1f}", f"from {sizes[0] / 1e6:.0f} MB")]


def workers(setting: Setting) -> list[Target]:
    """Two workers against one; both services and the load generator share two cores."""
    return [
        Target("requests per s of two workers / of one, `net`", 1.4, None, _scaling(setting, "net")),
        Target("requests per s of two workers / of one, default network", 1.6, None, _scaling(setting, "convnet")),
    ]


def _scaling(setting: Setting, model: str) -> list[float]:
    body, cores = pictures.multipart(pictures.tile()), {setting.server_core, setting.load_core}
    found: dict[str, Server] = {}
    rates: dict[str, list[float]] = {"1": [], "2": []}
    with contextlib.ExitStack() as stack:
        for count in rates:
            settings = {"INITIAL_MODEL": model, "WORKERS": count}
            found[count] = stack.enter_context(servers.inkling(f"{model}-{count}", setting.folder, settings, cores))
            found[count].first_answer("/predict", body)
            wrk.run(found[count].url + "/predict", body, 64, 1, cores)
            found[count].halt()
        for number in range(1, setting.rounds + 1):
            for count, server in found.items():
                server.resume()
                rates[count].append(wrk.run(server.url + "/predict", body, 64, setting.seconds, cores).rate)
                server.ask("/predict", body)
                server.halt()
                say(f"round {number} of {setting.rounds}: {model}, {count} worker(s): {rates[count][-1]:,.0f}/s")
    return [two / one for one, two in zip(rates["1"], rates["2"], strict=True)]


def _ready_seconds(setting: Setting) -> float:
    started = perf_counter()
    with setting.inkling("start") as server:
        server.wait_ready(pause=0.005)
        return perf_counter() - started


def _command_seconds(setting: Setting, command: list[str]) -> float:
    started = perf_counter()
    bound = ["taskset", "-c", str(setting.server_core), *command]
    subprocess.run(bound, cwd=setting.folder, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def _mixed() -> list[Request]:
    """Five hundred requests: images of all formats and three sizes, a photograph, and one in ten that is broken."""
    tile = pictures.tile()
    with Image.open(pictures.SEVEN) as seven:
        formats = [encode(seven.resize((side, side)), kind) for side in (28, 100, 400) for kind in FORMATS]
        clear = seven.convert("RGBA")
        clear.putalpha(seven.point(lambda value: 255 - value))
        blank = encode(Image.new("L", seven.size, 255), "PNG")
    good = [pictures.multipart(tile), pictures.raw(tile), pictures.multipart(encode(clear, "PNG"))]
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
