"""Answers in the place of the workers while none can start, so that clients are refused at once and need not wait."""

import asyncio
import contextlib
import json
import logging
import socket
import threading
from collections.abc import Sequence

from models.contract import PROBLEM_TYPES

MAX_CONNECTIONS = 64
SECONDS = 2
"""From the acceptance of a connection to its end."""
READ_BYTES = 65_536
PAUSE_SECONDS = 1

log = logging.getLogger(__name__)


class Standby:
    """A thread that answers every request with 503 and closes the connection. It keeps nothing of what it reads."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """sockets: listening, and shared with the workers."""
        self._sockets = sockets
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="standby", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops accepting, and answers what was accepted."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        room = asyncio.Semaphore(MAX_CONNECTIONS)
        accepting = [asyncio.create_task(self._accept(listening, room)) for listening in self._sockets]
        await self._stopping.wait()
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, *self._answering, return_exceptions=True)

    async def _accept(self, listening: socket.socket, room: asyncio.Semaphore) -> None:
        listening.setblocking(False)
        while True:
            await room.acquire()
            try:
                connection, _ = await self._loop.sock_accept(listening)
            except OSError as error:  # out of file descriptors: trying again at once would keep a core busy
                log.error("cannot accept connections: %s", error)
                room.release()
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            task = asyncio.create_task(self._answer(connection))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
            task.add_done_callback(lambda _: room.release())

    async def _answer(self, connection: socket.socket) -> None:
        """Reads on after the answer until the client closes: it would not see the answer if bytes were left unread."""
        with connection, contextlib.suppress(OSError):  # TimeoutError is one
            async with asyncio.timeout(SECONDS):
                request = await self._loop.sock_recv(connection, READ_BYTES)
                await self._loop.sock_sendall(connection, _response(request))
                connection.shutdown(socket.SHUT_WR)
                while await self._loop.sock_recv(connection, READ_BYTES):
                    pass


def _response(request: bytes) -> bytes:
    kind = PROBLEM_TYPES["not-ready"]
    detail = "no worker process can start; the log of the service says why, and it goes on trying"
    problem = {"type": "/problems/not-ready", "title": kind.title, "status": kind.status, "detail": detail}
    body = json.dumps(problem).encode()
    lines = [
        b"HTTP/1.1 503 Service Unavailable",
        b"content-type: application/problem+json",
        b"content-length: %d" % len(body),
        b"retry-after: 1",
        b"cache-control: no-store",
        b"x-content-type-options: nosniff",
        b"connection: close",
    ]
    return b"\r\n".join([*lines, b"", b"" if request.startswith(b"HEAD ") else body])
