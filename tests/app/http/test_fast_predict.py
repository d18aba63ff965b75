"""Which requests go the short way; that it answers as the long one does, tests/app/api/test_predict.py shows."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from app.http import fast_predict
from app.observability.access_log import AccessLog
from app.settings import Settings
from tests.support.connection import answers, connect, request
from tests.support.service import Server, check_problem, serving
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"))) as found:
        yield found


@pytest.fixture
def long_ways(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that the application was asked to answer."""
    found: list[str] = []
    watch = AccessLog.watch

    async def noted(self, app, scope, receive, send) -> None:
        found.append(scope["path"])
        await watch(self, app, scope, receive, send)

    monkeypatch.setattr(AccessLog, "watch", noted)
    return found


@pytest.fixture(scope="module")
def tile(seven: Image.Image, encode) -> bytes:
    return encode(seven.resize((28, 28)))


def test_a_small_picture_that_comes_whole_goes_the_short_way(
    server: Server, tile: bytes, seven: Image.Image, encode, long_ways: list[str]
) -> None:
    for body in (
        {"files": {"file": tile}},
        {"files": {"image": ("a.png", tile, "image/png")}},
        {"content": tile},
        {"content": tile, "headers": {"Content-Type": "application/octet-stream"}},
        {"files": {"file": encode(seven.resize((30, 32)))}},
    ):
        answer = server.client.post("/predict", **body)
        assert (answer.status_code, answer.json()["digit"]) == (200, 7)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
    assert long_ways == []


def test_everything_else_is_the_applications(server: Server, tile: bytes, encode, seven, long_ways: list[str]) -> None:
    server.client.post("/predict", files={"file": encode(seven.resize((1000, 1000)))})
    server.client.post("/predict", files={"wrong": tile})
    server.client.post("/predict?x=1", content=tile)
    server.client.post("/predict")
    server.client.get("/health")
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = request(tile)
        connection.sendall(message[:-5])
        wait_until(lambda: len(long_ways) == 6)  # it is not waited for with bytes in hand
        connection.sendall(message[-5:])
        assert answers(connection, 1)[0][0] == 200
    assert long_ways == ["/predict"] * 4 + ["/health", "/predict"]


def test_its_problems_are_the_applications(server: Server, tile: bytes, encode, long_ways: list[str]) -> None:
    check_problem(server.client.post("/predict", content=tile[: len(tile) // 2]), 422, "corrupt-picture", "truncated")
    blank = encode(Image.new("L", (28, 28)))
    check_problem(server.client.post("/predict", files={"file": blank}), 422, "nothing-drawn", "ink")
    with server.full():
        answer = server.client.post("/predict", files={"file": tile}, headers={"X-Request-ID": "mine"})
        check_problem(answer, 503, "overloaded", "INKLING_MAX_CONCURRENT_IMAGES=256")
        assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("1", "mine")
    assert server.predict(tile)["digit"] == 7
    assert long_ways == []


def test_one_that_is_sent_ahead_waits_for_the_short_one_before_it(
    server: Server, tile: bytes, long_ways: list[str]
) -> None:
    with connect(server) as connection:
        connection.sendall(request(tile) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + request(tile))
        first, live, last = answers(connection, 3)
    assert (first[1]["digit"], live[1]["status"], last[1]["digit"]) == (7, "live", 7)
    assert "/health/live" in long_ways


def test_the_connection_ends_where_the_client_asks_for_it(server: Server, tile: bytes, long_ways: list[str]) -> None:
    with connect(server) as connection:
        connection.sendall(request(tile, b"Connection: close\r\n"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert b"\r\nconnection: close\r\n" in received.lower()
    assert long_ways == []


def test_an_error_of_ours_is_left_to_the_application(
    server: Server, tile: bytes, monkeypatch: pytest.MonkeyPatch, long_ways: list[str]
) -> None:
    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.app.state.inference, "decode", fail)
    check_problem(server.client.post("/predict", content=tile), 500, "internal-error")
    assert long_ways == ["/predict"]
    assert server.app.state.inference.batcher.admitted == 0


def test_an_engine_that_is_closed_is_not_ready(tmp_path: Path, tile: bytes) -> None:
    with serving(Settings(home=tmp_path / "home")) as found:
        assert found.loop is not None
        found.app.state.inference.batcher._closing = True
        try:
            check_problem(found.client.post("/predict", content=tile), 503, "not-ready", "closed")
        finally:
            found.app.state.inference.batcher._closing = False


def test_a_body_in_very_many_pieces_is_handed_over(server: Server, tile: bytes, long_ways: list[str]) -> None:
    """It is neither gathered piece by piece for ever nor held back beyond a bound."""
    pieces = 70_000
    with connect(server) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"1\r\nX\r\n" * pieces + b"0\r\n\r\n")
        assert answers(connection, 1)[0][0] == 415
    assert long_ways == ["/predict"]


def test_a_client_that_does_not_read_is_waited_for(server: Server, long_ways: list[str]) -> None:
    """Its answers are not piled up: the way of the application, which waits, is taken once they are not read."""
    message = request(b"no picture " * 100)
    with connect(server) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(2)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 200_000_000:
                sent += connection.send(message * 20)
    assert long_ways


def test_many_requests_ahead_are_no_long_head(server: Server, tile: bytes) -> None:
    count = 3000
    with connect(server) as connection:
        sender = threading.Thread(target=connection.sendall, args=[request(b"no picture") * count])
        sender.start()
        assert {status for status, _ in answers(connection, count)} == {415}
        sender.join()


def test_a_failure_after_the_forward_pass_is_an_internal_error(
    server: Server, tile: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(fast_predict, "prediction_json", fail)
    check_problem(server.client.post("/predict", content=tile), 500, "internal-error")
