"""A load generator that keeps what wrk throws away: of each request its status, its own time, and its fate.

It offers requests at a fixed rate whether or not answers come (open loop), or keeps one in flight on each connection
(closed loop). A request is what is written to the socket; its answer is parsed by httptools.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from time import perf_counter
from typing import cast

import httptools

from benchmarks.pictures import Body

_TICK = 0.001
_PATIENCE = 15


@dataclass(frozen=True, slots=True)
class Request:
    data: bytes
    expected: int = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """status: 0 when the connection was lost without an answer, and None when it never came."""

    request: Request
    status: int | None
    seconds: float
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""


def post(path: str, body: Body, expected: int = 200) -> Request:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {body.content_type}\r\n"
    return Request(f"{head}Content-Length: {len(body.data)}\r\n\r\n".encode() + body.data, expected)


def get(path: str) -> Request:
    return Request(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


async def offer(port: int, request: Request, rate: float, seconds: float, connections: int) -> list[Answer]:
    """Sends so many a second, each on a free connection; with none free, requests go late and the rate is not reached.

    The times are from sending to the complete answer.
    """
    answers: list[Answer] = []
    free: deque[_Connection] = deque()

    def answered(connection: _Connection, answer: Answer) -> None:
        answers.append(answer)
        if connection.open:
            free.append(connection)

    opened = [await _Connection.to(port, answered) for _ in range(connections)]
    free.extend(opened)
    started, sent = perf_counter(), 0
    while (passed := perf_counter() - started) < seconds:
        while sent < passed * rate and free:
            connection = free.popleft()
            if connection.open:
                connection.send(request)
                sent += 1
        while len(opened) < connections:
            opened.append(await _Connection.to(port, answered))
            free.append(opened[-1])
        opened = [connection for connection in opened if connection.open]
        await asyncio.sleep(_TICK)
    await _finish(opened, answers)
    return answers


async def closed(
    port: int,
    requests: Sequence[Request],
    connections: int,
    more: Callable[[int], bool],
) -> list[Answer]:
    """Keeps one request in flight on each connection, in turn from the list, while `more(answers so far)`.

    A connection that the server closes is opened again; where nobody listens any more the loop ends.
    """
    answers: list[Answer] = []
    following: Iterator[Request] = cycle(requests)

    async def ask() -> None:
        ended: asyncio.Queue[Answer] = asyncio.Queue()
        connection: _Connection | None = None
        while more(len(answers)):
            if connection is None or not connection.open:
                try:
                    connection = await _Connection.to(port, lambda _, answer: ended.put_nowait(answer))
                except OSError:
                    return
            connection.send(next(following))
            try:
                answers.append(await asyncio.wait_for(ended.get(), _PATIENCE))
            except TimeoutError:
                answers.append(connection.abandoned())
                return
        if connection is not None:
            connection.close()

    await asyncio.gather(*(ask() for _ in range(connections)))
    return answers


async def _finish(connections: Sequence["_Connection"], answers: list[Answer]) -> None:
    deadline = perf_counter() + _PATIENCE
    while any(connection.busy for connection in connections) and perf_counter() < deadline:
        await asyncio.sleep(_TICK)
    for connection in connections:
        if connection.busy:
            answers.append(connection.abandoned())
        connection.close()


class _Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self, answered: Callable[["_Connection", Answer], None]) -> None:
        self._answered = answered
        self._request: Request | None = None
        self.open = True

    @classmethod
    async def to(cls, port: int, answered: Callable[["_Connection", Answer], None]) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(lambda: cls(answered), "127.0.0.1", port)
        return connection

    @property
    def busy(self) -> bool:
        return self._request is not None

    def send(self, request: Request) -> None:
        self._request = request
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._started = perf_counter()
        self._transport.write(request.data)

    def close(self) -> None:
        self._request = None
        self.open = False
        self._transport.close()

    def abandoned(self) -> Answer:
        answer = self._answer(None)
        self.close()
        return answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no such class

    def data_received(self, data: bytes) -> None:
        if self.busy:
            self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.busy:
            self._end(0)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.open = False
            self._transport.close()
        self._end(self._parser.get_status_code())

    def _end(self, status: int) -> None:
        answer = self._answer(status)
        self._request = None
        self._answered(self, answer)

    def _answer(self, status: int | None) -> Answer:
        assert self._request is not None
        return Answer(self._request, status, perf_counter() - self._started, self._headers, bytes(self._body))
