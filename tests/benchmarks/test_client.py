import asyncio
import itertools
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks import client
from benchmarks.pictures import raw

REFUSED = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\nno"
ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


@contextmanager
def answering(*answers: bytes | None) -> Iterator[int]:
    """The port of a server that gives these answers in turn; for None it closes the connection."""
    turns = itertools.cycle(answers)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while head := self._head():
                self.rfile.read(int(head[b"content-length"]))
                answer = next(turns)
                if answer is None:
                    return
                self.wfile.write(answer)

        def _head(self) -> dict[bytes, bytes]:
            lines = itertools.takewhile(bytes.strip, iter(self.rfile.readline, b""))
            return {name.lower(): value for name, _, value in (line.partition(b":") for line in lines)}

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def test_the_open_loop_sends_at_its_rate_and_keeps_every_answer() -> None:
    with answering(ACCEPTED, REFUSED) as port:
        request = client.post("/", raw(b"abc"))
        answers = asyncio.run(client.offer(port, [request], rate=200, seconds=0.5, connections=4))
    assert 50 < len(answers) <= 101  # a busy machine sends fewer, never more
    assert {(answer.status, answer.body) for answer in answers} == {(200, b"yes"), (503, b"no")}
    assert all(answer.headers[b"retry-after"] == b"1" for answer in answers if answer.status == 503)
    assert all(answer.due <= answer.sent < answer.ended for answer in answers)


def test_the_closed_loop_sends_requests_in_turn_and_reopens_lost_connections() -> None:
    requests = [client.post("/", raw(b"abc")), client.post("/", raw(b"de"), expected=503)]
    with answering(ACCEPTED, None, REFUSED) as port:
        answers = asyncio.run(client.closed(port, requests, 1, lambda count: count < 6))
    assert [answer.status for answer in answers] == [200, 0, 503, 200, 0, 503]
    assert [answer.request.expected for answer in answers] == [200, 503] * 3


def test_an_answer_that_never_comes_has_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.1)
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nye") as port:
        request = client.post("/", raw(b"abc"))
        answers = asyncio.run(client.offer(port, [request], rate=20, seconds=0.1, connections=1))
    assert [answer.status for answer in answers] == [None]


def test_a_percentile_is_a_latency_from_the_moment_a_request_was_due() -> None:
    request = client.post("/", raw(b"abc"))
    answers = [client.Answer(request, 200, due, due + 1, due + 2 + due / 100, {}, b"") for due in range(100)]
    assert client.percentile(answers, 0.5) == pytest.approx(2.5)
    assert client.percentile(answers, 1) == pytest.approx(2.99)
