"""What holds while a server is loaded: probes, overload, shutdown, a model swap."""

import asyncio
import subprocess
from collections import Counter
from collections.abc import Sequence
from time import perf_counter

import uvloop

from benchmarks import client, h2load, pictures, wrk
from benchmarks.bounds.setting import Setting
from benchmarks.client import Answer
from benchmarks.machine import BenchmarkError, say
from benchmarks.tables import Target
from models.registry.registry import RELEASED, ModelRegistry, read

CONNECTIONS = 64
OVERLOAD, CROWD, READ_A_SECOND = 2, 1024, 50
PROBES_A_SECOND = 100


def probes(setting: Setting) -> list[Target]:
    """/health/live while /predict has 64 connections, and while photographs of 12 megapixels arrive on four."""
    tile, photograph = pictures.multipart(pictures.tile()), pictures.raw(pictures.photograph(), "image/jpeg")
    loads = {
        f"/predict has {CONNECTIONS} connections": (tile, CONNECTIONS),
        f"JPEGs of 12 megapixels, {len(photograph.data) / 1e6:.1f} MB each, arrive on 4": (photograph, 4),
    }
    targets = []
    with setting.inkling("probes") as server:
        server.first_answer("/predict", tile)
        for name, (body, connections) in loads.items():
            script = wrk.script(setting.folder, "probes", body)
            command = wrk.command(server.url + "/predict", script, connections, setting.seconds, {setting.load_core})
            say(f"probing /health/live while {name}")
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as generator:
                answers = uvloop.run(
                    client.offer(server.port, client.get("/health/live"), PROBES_A_SECOND, setting.seconds - 1, 16)
                )
                load = wrk.parse(generator.communicate()[0])
            _check(answers)
            note = f"{len(answers)} probes beside {load.rate:,.0f} pictures a second"
            targets.append(
                Target(f"/health/live while {name}, p99 ms", 50, None, [_p99(answers)], True, "{:.1f}", note)
            )
    return targets


def overload(setting: Setting) -> list[Target]:
    """Twice what the server can do is offered to it, at the shipped limit; others ask meanwhile and read the headers.

    The first second, in which a thousand connections are made, is not looked at for times.
    """
    body = pictures.multipart(pictures.tile())
    with setting.inkling("overload") as server:
        server.first_answer("/predict", body)
        url = server.url + "/predict"
        script = wrk.script(setting.folder, "overload", body)
        capacity = wrk.run(url, script, CONNECTIONS, setting.seconds, {setting.load_core}).rate
        say(f"capacity {capacity:,.0f}/s; offering {OVERLOAD} times that")

        async def run() -> tuple[list[h2load.Answer], list[Answer]]:
            reading = client.offer(server.port, client.post("/predict", body), READ_A_SECOND, setting.seconds, 16)
            asking = asyncio.create_task(reading)
            rate, seconds = OVERLOAD * capacity, setting.seconds + 1
            offered = await asyncio.to_thread(h2load.offer, url, body, rate, seconds, CROWD, setting.load_core)
            return offered, await asking

        offered, read = uvloop.run(run())
        after = server.first_answer("/predict", body)
    steady = [answer for answer in offered if answer.at >= 1]
    accepted = [answer for answer in steady if answer.status == 200]
    refused = [answer for answer in steady if answer.status == 503]
    asked = len(steady) / (steady[-1].at - steady[0].at) / capacity
    counts = f"offered {asked:.1f} times the capacity, {len(accepted):,} accepted, {len(refused):,} refused"
    bad = sum(answer.status not in (200, 503) for answer in offered) + (after.status_code != 200)
    bad += sum(
        answer.status != 200 and (answer.status, b"retry-after" in answer.headers) != (503, True) for answer in read
    )
    return [
        Target("overload: a refusal, p99 ms", 20, None, [_p99(refused)] if refused else [], True, "{:.1f}", counts),
        Target(
            "overload: the longest wait of what was accepted, s",
            1,
            None,
            [max(answer.seconds for answer in offered if answer.status == 200)],
            True,
        ),
        Target(
            "overload: requests without an answer of 200, or of 503 with Retry-After",
            0,
            None,
            [bad],
            True,
            "{:.0f}",
            _statuses([*offered, *read]),
        ),
    ]


def shutdown(setting: Setting) -> list[Target]:
    """SIGTERM while 32 connections ask."""
    body = pictures.multipart(pictures.tile())
    with setting.inkling("shutdown") as server:
        server.first_answer("/predict", body)

        async def run() -> tuple[list[Answer], int | None]:
            asking = asyncio.create_task(
                client.closed(server.port, [client.post("/predict", body)], 32, lambda count: not ended.is_set())
            )
            await asyncio.sleep(2)
            status = await asyncio.to_thread(server.stop, 60)
            ended.set()
            return await asking, status

        ended = asyncio.Event()
        say("SIGTERM while 32 connections ask")
        answers, status = uvloop.run(run())
    bad = sum(answer.status != 200 for answer in answers)
    return [
        Target(
            "SIGTERM under load: requests without an answer of 200",
            0,
            None,
            [bad],
            True,
            "{:.0f}",
            f"{_statuses(answers)}; exit status {status}",
        )
    ]


def swap(setting: Setting) -> list[Target]:
    """Two versions are activated in turn, once a second, while 16 connections ask."""
    body = pictures.multipart(pictures.tile())
    with setting.inkling("swap") as server:
        server.first_answer("/predict", body)
        versions = ModelRegistry(setting.folder / "home-swap")
        release = read(RELEASED / "net")
        names = [versions.active(), versions.write(release.network.state_dict(), release.manifest)]

        async def run() -> list[Answer]:
            until = perf_counter() + 2 * setting.seconds
            request = client.post("/predict", body)
            asking = asyncio.create_task(
                client.closed(server.port, [request], 16, lambda count: perf_counter() < until)
            )
            for turn in range(1, 2 * setting.seconds):
                await asyncio.sleep(1)
                await asyncio.to_thread(versions.activate, names[turn % 2])
            return await asking

        say(f"activating {' and '.join(names)} in turn while 16 connections ask")
        answers = uvloop.run(run())
    seen = [name for name in names if any(f'"model":"{name}"'.encode() in answer.body for answer in answers)]
    if seen != names:
        raise BenchmarkError(f"activated {names} in turn, but answers came from {seen} alone")
    bad = sum(answer.status != 200 for answer in answers)
    name = f"a swap under load, {2 * setting.seconds - 1} times: requests without an answer of 200"
    return [Target(name, 0, None, [bad], True, "{:.0f}", _statuses(answers))]


def _check(answers: list[Answer]) -> None:
    if {answer.status for answer in answers} != {200}:
        raise BenchmarkError(f"/health/live answered {_statuses(answers)}")


def _p99(answers: Sequence[Answer | h2load.Answer]) -> float:
    """Milliseconds."""
    times = sorted(answer.seconds for answer in answers)
    return times[min(len(times) - 1, int(len(times) * 0.99))] * 1e3


def _statuses(answers: Sequence[Answer | h2load.Answer]) -> str:
    names = {0: "connection lost", -1: "connection lost", None: "no answer"}
    counts = Counter(names.get(answer.status, str(answer.status)) for answer in answers)
    return ", ".join(f"{count:,} x {name}" for name, count in sorted(counts.items()))
