"""Decodes and normalises images beside an event loop, each where its cost can be bounded.

A small image is decoded on the loop. One whose structure bounds the cost is decoded in a thread, and any other in a
process that can be limited and ended: one such image at a time, because it may take hundreds of megabytes, and the one
that takes least first, so that large images keep nobody but each other waiting.
"""

import asyncio
import contextlib
import ctypes
import functools
import heapq
import itertools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import perf_counter
from typing import Any

from models.errors import Overloaded
from models.preprocessing.decode import Picture, decode, decode_structure
from models.preprocessing.decoder_process import DecoderProcess
from models.preprocessing.file_structure import EXTRA_MEMORY, FileStructure, read_structure
from models.preprocessing.normalise import Tile, may_be_ready, normalise

THREAD_WAIT_SECONDS, PROCESS_WAIT_SECONDS = 1.0, 4.0
"""The longest wait for a free thread, and for the process: it takes up to two seconds for an image."""
REST_SECONDS = 30.0
"""How long after an image the process ends, and freed memory returns to the system; the next image starts another."""
HANDLING_MEMORY = 40_000_000
"""What the process takes beside decoding: to receive a file of 10 MB, and to normalise."""
_M_ARENA_MAX = -8  # from malloc.h


class SmallestFirst:
    """A lock for which the smallest that waits comes next."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def acquire(self, size: int) -> None:
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (size, next(self._numbers), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        self._taken = False
        while self._waiting and not self._taken:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                self._taken = True


class DecoderPool:
    """Call `close` after use.

    threads: how many images are decoded at a time. observe: called with the seconds that each image took to decode.
    """

    def __init__(self, threads: int, max_pixels: int, observe: Callable[[float], None] = lambda seconds: None) -> None:
        _share_heap()
        self.threads = threads
        self._max_pixels = max_pixels
        self._observe = observe
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._free_threads = asyncio.Semaphore(threads)
        self._process = DecoderProcess(4 * max_pixels + EXTRA_MEMORY + HANDLING_MEMORY)
        self._process_thread = ThreadPoolExecutor(1, "decoder process")
        self._turns = SmallestFirst()
        self._resting: asyncio.TimerHandle | None = None

    def decode_small(self, data: bytes) -> Picture | Tile:
        """The batcher's input for an image for which `is_small` holds. Raises PictureError."""
        began = perf_counter()
        try:
            return _tile_unless_ready(decode(data, self._max_pixels))
        finally:
            self._observe(perf_counter() - began)

    async def decode(self, data: bytes) -> Picture | Tile:
        """The batcher's input: the image itself if it may be a tile already, else its tile.

        Raises PictureError, Overloaded when no decoder is free in time, and InferenceFailed. Cancelling ends the work,
        except that of a thread, which takes about 0.1 s.
        """
        async with _waiting(THREAD_WAIT_SECONDS, self.threads):
            await self._free_threads.acquire()
        loop = asyncio.get_running_loop()
        if self._resting is None:
            self._resting = loop.call_later(REST_SECONDS, self._rest)
        decoding = loop.run_in_executor(self._pool, self._decode_in_thread, data)
        decoding.add_done_callback(functools.partial(_end, self._free_threads.release))
        try:
            found = await asyncio.shield(decoding)  # a thread outlives its cancelled caller: it is not free
        finally:
            del decoding  # an error in it has this frame in its traceback: the cycle would keep the file
        return await self._decode_isolated(data, found) if isinstance(found, FileStructure) else found

    async def close(self) -> None:
        """Ends the process and the threads."""
        self._process.kill()
        if self._resting is not None:
            self._resting.cancel()
        await asyncio.get_running_loop().run_in_executor(self._process_thread, self._process.close)
        self._process_thread.shutdown()
        self._pool.shutdown()

    def _decode_in_thread(self, data: bytes) -> Picture | Tile | FileStructure:
        """The structure of an image that the process must decode, without bytes, which would take memory meanwhile."""
        began = perf_counter()
        file = read_structure(data, self._max_pixels)
        if file.isolated:
            return replace(file, data=b"")
        try:
            return _tile_unless_ready(decode_structure(file))
        finally:
            self._observe(perf_counter() - began)

    async def _decode_isolated(self, data: bytes, file: FileStructure) -> Tile:
        async with _waiting(PROCESS_WAIT_SECONDS, 1):
            await self._turns.acquire(file.memory)
        decoding = asyncio.get_running_loop().run_in_executor(self._process_thread, self._decode_in_process, data)
        decoding.add_done_callback(functools.partial(_end, self._turns.release))
        try:
            return await asyncio.shield(decoding)
        except asyncio.CancelledError:
            if not decoding.done():
                self._process.kill()
            raise
        finally:
            del decoding

    def _decode_in_process(self, data: bytes) -> Tile:
        began = perf_counter()
        try:
            return self._process.decode(read_structure(data, self._max_pixels))
        finally:
            self._observe(perf_counter() - began)

    def _rest(self) -> None:
        self._resting = None
        self._process_thread.submit(self._process.close)
        self._process_thread.submit(_return_memory)


# The C library of most Linux systems, glibc, keeps tens of megabytes after a few files of 10 MB.


def _share_heap() -> None:
    """Lets the threads that start from now on use one heap: glibc cannot return all that is free in a thread's own."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _return_memory() -> None:
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _tile_unless_ready(picture: Picture) -> Picture | Tile:
    return picture if may_be_ready(picture) else normalise(picture)


def _end(release: Callable[[], None], decoding: asyncio.Future[Any]) -> None:
    release()
    if not decoding.cancelled():
        decoding.exception()  # asyncio would log the error of an image whose client has left


@contextlib.asynccontextmanager
async def _waiting(seconds: float, limit: int) -> AsyncIterator[None]:
    """Raises Overloaded, with the limit on images at a time, when the wait takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Overloaded(f"the images before this one took longer than {seconds:g} s to decode", limit=limit) from None
