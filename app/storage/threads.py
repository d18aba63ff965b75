"""The threads in which a worker's requests wait for the database and the disk.

Calls of one kind have threads of their own and a bound, so that they never make other requests wait. The threads that
asyncio and AnyIO share among everything would all wait for the same lock.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from app.storage.database import DatabaseUnavailable
from models.errors import InklingError, Overloaded, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


class BlockingCalls:
    """Runs calls of one kind, `count` at a time.

    limit: the most calls that run or wait; a further one is refused at once. seconds: how long the caller waits. A call
    that has begun by then goes on in its thread; the others never begin. unavailable: the error after that time.
    """

    def __init__(self, name: str, *, count: int, limit: int, seconds: float, unavailable: type[InklingError]) -> None:
        self.seconds = seconds
        self._name = name
        self._limit = limit
        self._unavailable = unavailable
        self._free = threading.Semaphore(limit)
        self._threads = ThreadPoolExecutor(count, name)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result or error. Raises Overloaded, or `unavailable`, as well."""
        self._take_place()
        context = contextvars.copy_context()  # the request's id, for the log
        running = self._threads.submit(lambda: context.run(call, *args, **kwargs))
        running.add_done_callback(lambda _: self._free.release())
        try:
            async with asyncio.timeout(self.seconds) as timeout:
                return await asyncio.wrap_future(running)
        except TimeoutError:
            if not timeout.expired():  # the call's own error
                raise
            raise self._unavailable(f"no answer from the {self._name} for {self.seconds:g} s; try again") from None

    def check(self) -> None:
        """Raises Overloaded if a call would be refused now, so that a request can be refused before any other work."""
        self._take_place()
        self._free.release()

    def _take_place(self) -> None:
        if not self._free.acquire(blocking=False):
            raise Overloaded(
                f"{self._limit} requests wait for the {self._name}, the limit of a worker; try again", limit=self._limit
            )

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class StorageThreads:
    """reads, writes: calls of the database; SQLite's readers do not wait for its writers.

    versions: reads of the saved versions. activations: each waits for a lock, and loads the version. metrics, active:
    for GET /metrics, from database and versions; it has to answer while a disk hangs.
    """

    def __init__(self) -> None:
        database = DatabaseUnavailable
        self.reads = BlockingCalls("database", count=4, limit=64, seconds=10, unavailable=database)
        self.writes = BlockingCalls("database", count=4, limit=64, seconds=10, unavailable=database)
        self.metrics = BlockingCalls("database", count=1, limit=16, seconds=2, unavailable=database)
        self.versions = BlockingCalls("saved versions", count=2, limit=64, seconds=10, unavailable=StoreUnavailable)
        self.active = BlockingCalls("saved versions", count=1, limit=16, seconds=2, unavailable=StoreUnavailable)
        self.activations = BlockingCalls("activation", count=1, limit=8, seconds=60, unavailable=StoreUnavailable)

    def close(self) -> None:
        for calls in (self.reads, self.writes, self.metrics, self.versions, self.active, self.activations):
            calls.close()
