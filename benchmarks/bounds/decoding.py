"""What hostile image files cost, and what they cost others. The files are those of the tests."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from time import perf_counter

import httpx
import psutil
import uvloop
from PIL import Image

from benchmarks import client, pictures
from benchmarks.bounds.setting import Setting
from benchmarks.client import percentile
from benchmarks.machine import BenchmarkError, say
from benchmarks.pictures import encode
from benchmarks.servers import Server, digit_of
from benchmarks.tables import Target
from tests.support.hostile_pictures import HOSTILE, LARGE, chunk, png

SAMPLE_SECONDS = 0.02
REST_SECONDS = 60
SMALL_PER_SECOND = 27
USES_ITS_TIME = "TIFF, 28 x 28 in a tile of 12,000 x 12,000, LZMA"
USES_ITS_MEMORY = "PNG, 48 megapixels of 16 bits"


def decoding(setting: Setting) -> list[Target]:
    with setting.inkling("decoding") as server:
        server.first_answer("/predict", pictures.multipart(pictures.canvas()))
        rest = sum(server.memory("pss"))
        targets = [*_photographs(server), *_hostile(server, rest)]
        targets += [_probes(setting, server), _others(setting, server)]
        targets.append(_stop(server))
    return targets


def _photographs(server: Server) -> list[Target]:
    """Images of 12 and 48 megapixels show the digit that the small one shows."""
    with Image.open(pictures.SEVEN) as found:
        scans = {side: found.convert("RGB").resize((4 * side, 3 * side)) for side in (1000, 2000)}
    files = {
        "12 megapixel JPEG": pictures.photograph(),
        "48 megapixel JPEG": pictures.photograph(8000, 6000, quality=60),
        "12 megapixel PNG": encode(scans[1000], "PNG", compress_level=1),
        "48 megapixel PNG": encode(scans[2000], "PNG", compress_level=1),
    }
    seconds, misread = {}, []
    for name, data in files.items():
        seconds[name] = min(_ask(server, data)[0] for _ in range(3))
        if digit_of(_ask(server, data)[1]) != 7:
            misread.append(name)
    note = ", ".join(f"{name} of {len(files[name]) / 1e6:.1f} MB: {taken:.2f} s" for name, taken in seconds.items())
    return [
        Target("photographs: longest answer, s", 2, 1, [max(seconds.values())], True, note=note),
        Target("photographs: misread or refused", 0, None, [len(misread)], True, "{:.0f}", ", ".join(misread)),
    ]


def _hostile(server: Server, rest: int) -> list[Target]:
    seconds, used, wrong = {}, {}, []
    with _peak_memory(server) as peak:
        for name, (make, problem) in {**HOSTILE, **LARGE}.items():
            data, before = make(), _cpu_seconds(server)
            seconds[name], answer = _ask(server, data)
            used[name] = _cpu_seconds(server) - before
            if answer.json()["type"] != f"/problems/{problem}":
                wrong.append(f"{name}: {answer.json()['type']}")
    say(f"waiting {REST_SECONDS} s for the memory to return")
    time.sleep(REST_SECONDS)
    left = sum(server.memory("pss")) - rest
    slow = [f"{name}: {taken:.2f} s" for name, taken in seconds.items() if taken > 0.2 and name in HOSTILE]
    longest = max(HOSTILE, key=lambda name: seconds[name])
    most = max(used, key=lambda name: used[name])
    peak_note = f"{peak[0] / 1e6:.0f} MB against {rest / 1e6:.0f} MB"
    return [
        Target(
            f"{len(HOSTILE)} hostile images: longest answer, s", 1, 0.2, [seconds[longest]], True, note=", ".join(slow)
        ),
        Target("the same and the largest: processor time of one, s", 2, None, [used[most]], True, note=most),
        Target("the same: not refused by name", 0, None, [len(wrong)], True, "{:.0f}", ", ".join(wrong)),
        Target(
            "the same: peak of all processes above rest, MB",
            300,
            None,
            [(peak[0] - rest) / 1e6],
            True,
            "{:.0f}",
            peak_note,
        ),
        Target("the same: memory above rest a minute later, MB", 30, None, [left / 1e6], True, "{:.0f}"),
    ]


def _probes(setting: Setting, server: Server) -> Target:
    """/health/live while small PNGs with thousands of tags arrive."""
    tagged = pictures.raw(png(*[chunk(b"tEXt", b"%d\0" % number) for number in range(5000)]))
    live = [client.get("/health/live")] * 4

    async def run() -> list[client.Answer]:
        rate, seconds = SMALL_PER_SECOND, setting.seconds
        load = client.offer(server.port, [client.post("/predict", tagged, 422)], rate, seconds, 16)
        answers, _ = await asyncio.gather(client.offer(server.port, live, 100, seconds, 16), load)
        return answers

    answers = uvloop.run(run())
    name = f"/health/live beside {SMALL_PER_SECOND} small PNGs of 5,000 chunks per s, p99 ms"
    return Target(name, 50, 10, [percentile(answers, 0.99) * 1e3], True, "{:.1f}")


def _others(setting: Setting, server: Server) -> Target:
    """A photograph, a drawing, a TIFF and a large PNG a second, beside an image that takes all it may."""
    with Image.open(pictures.SEVEN) as seven:
        honest = [pictures.photograph(), pictures.canvas(), encode(seven.resize((1000, 1000)), "TIFF")]
        honest.append(encode(seven.convert("RGB").resize((4000, 3000)), "PNG", compress_level=1))
    requests = [client.post("/predict", pictures.raw(data)) for data in honest]
    costly = [HOSTILE[USES_ITS_TIME], LARGE[USES_ITS_MEMORY]]
    hostile = [client.post("/predict", pictures.raw(make())) for make, _ in costly]

    async def run() -> list[client.Answer]:
        seconds = 2 * setting.seconds
        load = client.offer(server.port, hostile, 1, seconds, 8)
        answers, _ = await asyncio.gather(client.offer(server.port, requests, len(requests), seconds, 16), load)
        return answers

    answers = uvloop.run(run())
    refused = sum(answer.status != 200 for answer in answers)
    note = f"{len(answers)} images, 99 % within {percentile(answers, 0.99):.2f} s"
    return Target("images refused beside one a second that takes all it may", 0, None, [refused], True, "{:.0f}", note)


def _stop(server: Server) -> Target:
    """SIGTERM right after an image that takes as long as any."""
    body = pictures.raw(LARGE[USES_ITS_MEMORY][0]())

    def ask() -> None:
        with contextlib.suppress(httpx.HTTPError):
            server.ask("/predict", body)

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(0.3)
    began = perf_counter()
    status = server.stop()
    asking.join()
    if status != 0:
        raise BenchmarkError(f"the service ended with {status}")
    return Target("SIGTERM while an image is decoded: s to the end", 5, None, [perf_counter() - began], True)


def _ask(server: Server, data: bytes) -> tuple[float, httpx.Response]:
    began = perf_counter()
    answer = server.ask("/predict", pictures.raw(data))
    return perf_counter() - began, answer


def _cpu_seconds(server: Server) -> float:
    """The processor time of its processes, and of those that have ended."""
    used = 0.0
    for process in server.members():
        with contextlib.suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:4])
    return used


@contextlib.contextmanager
def _peak_memory(server: Server) -> Iterator[list[int]]:
    """The largest sum of the memory of its processes, in a list of one that is filled at the end."""
    samples, stop = [0], threading.Event()

    def sample() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            samples[0] = max(samples[0], sum(server.memory("pss")))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()
