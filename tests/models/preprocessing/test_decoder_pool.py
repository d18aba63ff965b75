import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine

import pytest

from models.errors import Overloaded
from models.preprocessing import decoder_pool
from models.preprocessing.decoder_pool import DecoderPool, SmallestFirst
from models.preprocessing.file_structure import MAX_PIXELS
from models.preprocessing.normalise import Tile
from tests.support.environment import ROOT
from tests.support.hostile_pictures import HOSTILE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes


def run(test: Callable[[DecoderPool], Coroutine]) -> None:
    async def main() -> None:
        pool = DecoderPool(1, MAX_PIXELS)
        try:
            await test(pool)
        finally:
            await pool.close()

    asyncio.run(main())


def test_only_images_whose_cost_is_unknown_or_high_need_the_process(seven, encode) -> None:
    async def test(pool: DecoderPool) -> None:
        for data in (encode(seven), encode(seven, "JPEG"), encode(seven, "GIF"), encode(seven, "BMP")):
            assert isinstance(await pool.decode(data), Tile)
        assert isinstance(await pool.decode(encode(seven.resize((3000, 3000)), "JPEG")), Tile)
        assert pool._process._process is None
        for data in (encode(seven, "TIFF"), encode(seven, "WEBP"), encode(seven.convert("RGB").resize((3000, 3000)))):
            assert isinstance(await pool.decode(data), Tile)
            assert pool._process._process is not None
            pool._process_thread.submit(pool._process.close).result()

    run(test)


def test_cancelling_ends_the_process_and_the_next_image_is_decoded(seven, encode) -> None:
    data = encode(seven, "TIFF")

    async def test(pool: DecoderPool) -> None:
        await pool.decode(data)
        process = pool._process._process
        os.kill(process.pid, signal.SIGSTOP)
        decoding = asyncio.create_task(pool.decode(data))
        while not pool._turns._taken:
            await asyncio.sleep(0)
        decoding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await decoding
        assert isinstance(await pool.decode(data), Tile)
        assert process.returncode == -signal.SIGKILL

    run(test)


def test_the_process_ends_and_the_next_image_starts_another(monkeypatch, seven, encode) -> None:
    monkeypatch.setattr(decoder_pool, "REST_SECONDS", 0.05)

    async def test(pool: DecoderPool) -> None:
        await pool.decode(encode(seven, "TIFF"))
        process = pool._process._process
        await asyncio.to_thread(wait_until, lambda: process.returncode is not None)
        assert isinstance(await pool.decode(encode(seven, "TIFF")), Tile)

    run(test)


def test_the_smallest_image_that_waits_comes_next() -> None:
    async def main() -> None:
        turns, order = SmallestFirst(), []

        async def wait(size: int) -> None:
            await turns.acquire(size)
            order.append(size)
            turns.release()

        await turns.acquire(9)
        waiting = {size: asyncio.create_task(wait(size)) for size in (5, 3, 8, 1)}
        await asyncio.sleep(0)
        waiting[3].cancel()
        turns.release()
        waiting[1].cancel()  # after it got its turn
        await asyncio.gather(*waiting.values(), return_exceptions=True)
        await asyncio.wait_for(wait(2), 10)
        assert order == [5, 8, 2]

    asyncio.run(main())


def test_an_image_that_waits_too_long_is_refused(monkeypatch, seven, encode) -> None:
    monkeypatch.setattr(decoder_pool, "PROCESS_WAIT_SECONDS", 0.05)

    async def test(pool: DecoderPool) -> None:
        await pool._turns.acquire(1)
        with pytest.raises(Overloaded, match=r"longer than 0\.05 s"):
            await pool.decode(encode(seven, "TIFF"))
        assert isinstance(await pool.decode(encode(seven)), Tile)
        pool._turns.release()
        assert isinstance(await pool.decode(encode(seven, "TIFF")), Tile)

    run(test)


_WITH_LITTLE_MEMORY = """
import asyncio, json, resource
from models.errors import InklingError
from models.preprocessing.decoder_pool import DecoderPool, SmallestFirst
from models.preprocessing.normalise import Tile, normalise
from tests.support.hostile_pictures import HOSTILE

async def main():
    pool, found = DecoderPool(1, 50_000_000), {}
    for name, (make, _) in HOSTILE.items():
        data = make()
        used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + 128_000_000, -1))
        try:
            image = await pool.decode(data)
            found[name] = "" if isinstance(image, Tile) else normalise(image)
        except InklingError as error:
            found[name] = error.problem
        resource.setrlimit(resource.RLIMIT_DATA, (-1, -1))
    await pool.close()
    print(json.dumps(found))

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process allocates")
def test_hostile_pictures_need_little_memory_in_the_process_that_asks() -> None:
    """At most 128 MB; the other process limits itself."""
    found = subprocess.run([sys.executable, "-c", _WITH_LITTLE_MEMORY], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout) == {name: problem for name, (_, problem) in HOSTILE.items()}
    assert found.stderr == ""
