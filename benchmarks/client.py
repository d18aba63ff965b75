"""A load generator that keeps what wrk discards: the status, the times and the body of every answer.

`offer` sends at a fixed rate whether or not answers come (open loop); `closed` keeps one request in flight on each
connection (closed loop). httptools parses the answers. One core generates about 20,000 requests per second.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter
from typing import cast

import httptools

from benchmarks.pictures import Body

TICK_SECONDS = 0.001
ANSWER_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Request:
    """data: what is written to the socket; expected: the status that the answer should have."""

    data: bytes
    expected: int = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """due, sent, ended: by perf_counter, in seconds. status: 0 if the connection was lost, None if no answer came."""

    request: Request
    status: int | None
    due: float
    sent: float
    ended: float
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def seconds(self) -> float:
        """Latency, from the moment at which the request was due, so that a stall counts in full."""
        return self.ended - self.due


def post(path: str, body: Body, expected: int = 200) -> Request:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {body.content_type}\r\n"
    return Request(f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data, expected)


def get(path: str) -> Request:
    return Request(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


def percentile(answers: Sequence[Answer], share: float) -> float:
    """The latency in seconds that this share of the answers does not exceed."""
    times = sorted(answer.seconds for answer in answers)
    return times[min(len(times) - 1, int(share * len(times)))]


async def offer(port: int, requests: Sequence[Request], rate: float, seconds: float, connections: int) -> list[Answer]:
    """Sends `rate` requests per second, in turn from the list, each on a free connection or on the next that is free.

    Raises OSError if the server refuses a connection.
    """
    answers: list[Answer] = []
    free = deque([await _Connection.to(port) for _ in range(connections)])
    following = cycle(requests)

    async def ask(connection: _Connection, due: float) -> None:
        if not connection.open:
            connection = await _Connection.to(port)
        answers.append(await connection.ask(next(following), due))
        free.append(connection)

    started, sent = perf_counter(), 0
    async with asyncio.TaskGroup() as tasks:
        while (passed := perf_counter() - started) < seconds:
            while sent < passed * rate and free:
                tasks.create_task(ask(free.popleft(), started + sent / rate))
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
    for connection in free:
        connection.close()
    return answers


async def closed(port: int, requests: Sequence[Request], connections: int, more: Callable[[int], bool]) -> list[Answer]:
    """Keeps one request in flight on each connection, in turn from the list, while `more(answers so far)`.

    A connection that the server closes is opened again; the loop ends once the server refuses connections.
    """
    answers: list[Answer] = []
    following = cycle(requests)

    async def ask() -> None:
        connection: _Connection | None = None
        while more(len(answers)):
            if connection is None or not connection.open:
                try:
                    connection = await _Connection.to(port)
                except OSError:
                    return
            answers.append(await connection.ask(next(following), perf_counter()))
        if connection is not None:
            connection.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return answers


class _Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    open = True
    _status: asyncio.Future[int | None] | None = None

    @classmethod
    async def to(cls, port: int) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, request: Request, due: float) -> Answer:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        loop = asyncio.get_running_loop()
        self._status = loop.create_future()
        timeout = loop.call_later(ANSWER_SECONDS, self._end, None)  # wait_for costs more than all the rest
        sent = perf_counter()
        self._transport.write(request.data)
        status = await self._status
        timeout.cancel()
        if status is None:
            self.close()
        return Answer(request, status, due, sent, perf_counter(), self._headers, bytes(self._body))

    def close(self) -> None:
        self.open = False
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport does not inherit from it

    def data_received(self, data: bytes) -> None:
        if self._status and not self._status.done():
            self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        self._end(0)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        self._end(self._parser.get_status_code())

    def _end(self, status: int | None) -> None:
        if self._status and not self._status.done():
            self._status.set_result(status)
