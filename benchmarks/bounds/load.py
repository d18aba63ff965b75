"""What holds under load: health probes, overload, shutdown and model swaps."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import uvloop

from benchmarks import client, pictures, wrk
from benchmarks.bounds.setting import Setting
from benchmarks.client import Answer, percentile
from benchmarks.machine import BenchmarkError, say
from benchmarks.tables import Target
from models.registry.registry import RELEASED, ModelRegistry
from models.registry.version_files import read

CONNECTIONS = 64
OVERLOAD, CROWD = 2, 1024
PROBES_PER_SECOND = 100


def probes(setting: Setting) -> list[Target]:
    """/health/live while /predict is busy on 64 connections, and while photographs arrive on four."""
    tile, photograph = pictures.multipart(pictures.tile()), pictures.raw(pictures.photograph(), "image/jpeg")
    loads = {
        f"/predict is busy on {CONNECTIONS} connections": (tile, CONNECTIONS),
        f"12 megapixel JPEGs of {len(photograph.data) / 1e6:.1f} MB arrive on 4 connections": (photograph, 4),
    }
    targets, probe = [], [client.get("/health/live")]
    with setting.inkling("probes") as server:
        server.first_answer("/predict", tile)
        for name, (body, connections) in loads.items():
            say(f"probing /health/live while {name}")
            url, cores = server.url + "/predict", {setting.load_core}
            with wrk.running(url, body, connections, setting.seconds + 1, cores) as generator:
                answers = uvloop.run(client.offer(server.port, probe, PROBES_PER_SECOND, setting.seconds, 16))
                load = wrk.parse(generator.communicate()[0])
            if {answer.status for answer in answers} != {200}:
                raise BenchmarkError(f"/health/live answered {_statuses(answers)}")
            note = f"{len(answers)} probes beside {load.rate:,.0f} images per s"
            p99 = [percentile(answers, 0.99) * 1e3]
            targets.append(Target(f"/health/live while {name}, p99 ms", 50, None, p99, True, "{:.1f}", note))
    return targets


def overload(setting: Setting) -> list[Target]:
    """Twice the capacity is offered over 1,024 connections, with the default limit on images in flight.

    The latency of refusals leaves out the first second, in which the connections meet an idle server.
    """
    body = pictures.multipart(pictures.tile())
    with setting.inkling("overload") as server:
        server.first_answer("/predict", body)
        capacity = setting.load(server, body, CONNECTIONS).rate
        say(f"capacity {capacity:,.0f} requests per s; offering {OVERLOAD} times that")
        request, seconds = [client.post("/predict", body)], setting.seconds + 1
        offered = uvloop.run(client.offer(server.port, request, OVERLOAD * capacity, seconds, CROWD))
        after = server.first_answer("/predict", body)
    begun = min(answer.sent for answer in offered)
    steady = [answer for answer in offered if answer.sent >= begun + 1]
    accepted = [answer for answer in steady if answer.status == 200]
    refused = [answer for answer in steady if answer.status == 503]
    rate = len(steady) / (max(answer.sent for answer in steady) - begun - 1)
    counts = f"offered {rate / capacity:.1f} times the capacity, {len(accepted):,} accepted, {len(refused):,} refused"
    bad = sum(not _fair(answer) for answer in offered) + (after.status_code != 200)
    name = "overload: requests without an answer of 200, or of 503 with Retry-After"
    p99 = [percentile(refused, 0.99) * 1e3] if refused else []
    longest = [percentile([answer for answer in offered if answer.status == 200], 1)]
    return [
        Target("overload: latency of a refusal, p99 ms", 20, None, p99, True, "{:.1f}", counts),
        Target("overload: longest latency of an accepted request, s", 1, None, longest, True),
        Target(name, 0, None, [bad], True, "{:.0f}", _statuses(offered)),
    ]


def shutdown(setting: Setting) -> list[Target]:
    """SIGTERM while 32 connections send requests."""
    request = client.post("/predict", pictures.multipart(pictures.tile()))
    with setting.inkling("shutdown") as server:
        server.wait_ready()

        async def run() -> tuple[list[Answer], int | None]:
            load = asyncio.create_task(client.closed(server.port, [request], 32, lambda count: not ended.is_set()))
            await asyncio.sleep(2)
            status = await asyncio.to_thread(server.stop, 60)
            ended.set()
            return await load, status

        ended = asyncio.Event()
        say("SIGTERM while 32 connections send requests")
        answers, status = uvloop.run(run())
    name = "SIGTERM under load: requests without an answer of 200"
    bad = sum(answer.status != 200 for answer in answers)
    return [Target(name, 0, None, [bad], True, "{:.0f}", f"{_statuses(answers)}; exit status {status}")]


def swap(setting: Setting) -> list[Target]:
    """Two versions are activated in turn, once per second, while 16 connections send requests."""
    request = client.post("/predict", pictures.multipart(pictures.tile()))
    with setting.inkling("swap") as server:
        server.wait_ready()
        versions, names = two_versions(setting.folder / "home-swap")

        async def run() -> list[Answer]:
            until = perf_counter() + 2 * setting.seconds
            load = asyncio.create_task(client.closed(server.port, [request], 16, lambda count: perf_counter() < until))
            for turn in range(1, 2 * setting.seconds):
                await asyncio.sleep(1)
                await asyncio.to_thread(versions.activate, names[turn % 2])
            return await load

        say(f"activating {' and '.join(names)} in turn while 16 connections send requests")
        answers = uvloop.run(run())
    seen = [name for name in names if any(f'"model":"{name}"'.encode() in answer.body for answer in answers)]
    if seen != names:
        raise BenchmarkError(f"activated {names} in turn, but answers came from {seen} alone")
    name = f"{2 * setting.seconds - 1} swaps under load: requests without an answer of 200"
    bad = sum(answer.status != 200 for answer in answers)
    return [Target(name, 0, None, [bad], True, "{:.0f}", _statuses(answers))]


def two_versions(home: Path) -> tuple[ModelRegistry, list[str]]:
    """The active version of a HOME, and another one that is written into it."""
    versions, release = ModelRegistry(home), read(RELEASED / "net")
    other = versions.write(release.network().state_dict(), release.manifest, release.compiled)
    return versions, [versions.active(), other]


def _fair(answer: Answer) -> bool:
    """Accepted, or refused with the time after which to try again."""
    return answer.status == 200 or (answer.status == 503 and b"retry-after" in answer.headers)


def _statuses(answers: Sequence[Answer]) -> str:
    names = {0: "connection lost", None: "no answer"}
    counts = Counter(names.get(answer.status, str(answer.status)) for answer in answers)
    return ", ".join(f"{count:,} x {name}" for name, count in sorted(counts.items()))
