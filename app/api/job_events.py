"""Follows retraining jobs for the event streams of one worker."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

from app.storage.jobs import Jobs
from app.storage.threads import StorageThreads
from models.contract import JobStatus
from models.errors import InklingError, Overloaded

MAX_STREAMS = 100
POLL_SECONDS = 0.5

log = logging.getLogger(__name__)


class _Stream:
    """The events of one client. `_latest` is None once the job is gone, as after a backup was restored."""

    def __init__(self, status: JobStatus) -> None:
        self.job_id = status.id
        self._latest: JobStatus | None = status
        self._changed = asyncio.Event()
        self._closed = False

    def update(self, status: JobStatus | None) -> None:
        if status != self._latest:
            self._latest = status
            self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()

    async def changes(self) -> AsyncIterator[JobStatus]:
        while (status := self._latest) is not None:
            yield status
            if status.ended:
                return
            await self._changed.wait()
            if self._closed:
                return
            self._changed.clear()


class JobEvents:
    """One poller reads the followed jobs for all streams, with one query, and only while there is a stream.

    A poller for each stream would occupy the threads in which other requests wait for the database.
    """

    def __init__(self, jobs: Jobs, threads: StorageThreads) -> None:
        self._jobs = jobs
        self._threads = threads
        self._streams: set[_Stream] = set()
        self._closed = False
        self._poller: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Ends every stream, also those to come; their clients may connect to another worker."""
        self._closed = True
        for stream in self._streams:
            stream.close()

    @contextlib.contextmanager
    def follow(self, status: JobStatus) -> Iterator[AsyncIterator[JobStatus]]:
        """Yields the given status and every later one until the job ends. Raises Overloaded beyond MAX_STREAMS."""
        if len(self._streams) >= MAX_STREAMS:
            raise Overloaded(
                f"{MAX_STREAMS} event streams are open, the limit of a worker; try again, or GET /retrain/{status.id}",
                limit=MAX_STREAMS,
            )
        stream = _Stream(status)
        self._streams.add(stream)
        if self._closed:
            stream.close()
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll())
        try:
            yield stream.changes()
        finally:
            self._streams.remove(stream)

    async def _poll(self) -> None:
        while self._streams:
            streams = list(self._streams)  # a stream that opens during the query has a newer status
            try:
                found = await self._threads.reads.run(self._jobs.find, {stream.job_id for stream in streams})
            except InklingError:  # the database does not answer or is busy; the next turn may be luckier
                pass
            except Exception:
                log.exception("cannot read the followed jobs")
            else:
                statuses = {job.id: JobStatus.model_validate(job) for job in found}
                for stream in streams:
                    stream.update(statuses.get(stream.job_id))
            await asyncio.sleep(POLL_SECONDS)
