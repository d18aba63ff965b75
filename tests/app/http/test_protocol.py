"""The protocol on raw bytes over a socket, in pieces of any size."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from app.http import protocol
from app.settings import Settings
from models.inference.batcher import DynamicBatcher
from tests.support.connection import answers, connect, request
from tests.support.service import KEY, Server, running, serving
from tests.support.waiting import wait_until

UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def connection(server: Server) -> Iterator[socket.socket]:
    with connect(server) as found:
        yield found


@pytest.fixture(scope="module")
def picture(seven: Image.Image, encode) -> bytes:
    return encode(seven)


def chunked(body: bytes, size: int, headers: bytes = b"") -> bytes:
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return (
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        + headers
        + b"\r\n"
        + framed
        + b"0\r\n\r\n"
    )


@pytest.mark.parametrize("headers", [b"", UPGRADE])
@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_a_request_may_arrive_in_pieces_of_any_size(
    headers: bytes, size: int, connection: socket.socket, picture: bytes
) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for message in (request(picture, headers), chunked(picture, 100, headers)):
        for i in range(0, len(message), size):
            connection.sendall(message[i : i + size])
        [(status, body)] = answers(connection, 1)
        assert (status, body.get("digit")) == (200, 7)


def test_a_client_of_http_1_0_gets_no_interim_response(connection: socket.socket, picture: bytes) -> None:
    connection.sendall(request(picture, b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(connection: socket.socket, picture: bytes) -> None:
    messages = [
        request(picture),
        LIVE,
        request(picture, UPGRADE),
        chunked(picture, 200, UPGRADE),
        request(b"", UPGRADE),
        request(b"", UPGRADE, b"GET /health/live"),
        request(picture),
    ]
    connection.sendall(b"".join(messages))
    assert [status for status, _ in answers(connection, 7)] == [200, 200, 200, 200, 400, 200, 200]


def test_a_client_that_expects_100_continue_gets_it(connection: socket.socket, picture: bytes) -> None:
    head, _, _ = request(picture, b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    connection.sendall(head + b"\r\n\r\n")
    assert answers(connection, 1) == [(100, {})]
    connection.sendall(picture)
    [(status, body)] = answers(connection, 1)
    assert (status, body["digit"]) == (200, 7)


CHUNKED = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n" + b"A" * 400_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200_000,
        b"GET /" + b"a" * 400_000,
        b"\r\n" * 100_000,
        CHUNKED % b"/predict" + b"1\r\nX\r\n0\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        CHUNKED % b"/predict?x" + b"1\r\nX\r\n0\r\n" + b"A: b\r\n" * 20_000 + b"\r\n",
        CHUNKED % b"/predict" + b"1\r\nX\r\n0\r\n" + b"A" * 100_000,
        CHUNKED % b"/predict?x" + b"1\r\nX\r\n0\r\nA: " + b"b" * 100_000,
        CHUNKED % b"/predict" + b"1;" + b"a" * 100_000 + b"\r\nX\r\n0\r\n\r\n",
        CHUNKED % b"/predict?x" + b"0" * 100_000 + b"1\r\nX\r\n0\r\n\r\n",
        CHUNKED % b"/predict" + b"no number\r\n",
    ],
    ids=lambda nonsense: repr(nonsense[-30:]),
)
def test_bytes_that_are_no_request_are_a_problem_and_end_the_connection(nonsense: bytes, server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(nonsense)
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    assert b"\r\nx-request-id: " in head
    assert json.loads(body)["type"] == "/problems/bad-request"
    assert server.client.get("/health/live").status_code == 200


def received(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    data = b""
    while piece := connection.recv(65536):
        data += piece
    return data


def test_trailers_without_end_after_an_answer_end_the_connection_without_another(connection: socket.socket) -> None:
    connection.sendall(CHUNKED % b"/health/live" + b"1\r\nX\r\n")
    [(status, _)] = answers(connection, 1)
    assert status == 405
    connection.sendall(b"0\r\n" + b"A: b\r\n" * 2_000)
    assert received(connection) == b""


def test_a_trailer_is_not_a_header(tmp_path) -> None:
    with serving(Settings(home=tmp_path / "home", api_key=KEY)) as server, connect(server) as connection:
        for trailer in (b"X-API-Key: ", b"Authorization: Bearer "):
            connection.sendall(CHUNKED % b"/retrain" + b"2\r\n{}\r\n0\r\n" + trailer + KEY.encode() + b"\r\n\r\n")
            connection.sendall(LIVE)
            assert [status for status, _ in answers(connection, 2)] == [401, 200]


@pytest.mark.processes
def test_requests_without_end_wait_until_their_answers_are_read(connection: socket.socket) -> None:
    message = request(b"", b"A: " + b"a" * 4000 + b"\r\n", b"GET /health/live")
    connection.settimeout(1)
    sent = 0
    with pytest.raises(TimeoutError):
        while sent < 400_000_000:
            sent += connection.send((message * 100)[sent % len(message) :])
    connection.settimeout(60)
    count = -(-sent // len(message))
    rest = threading.Thread(target=connection.sendall, args=[message[len(message) - (count * len(message) - sent) :]])
    rest.start()
    assert {status for status, _ in answers(connection, count)} == {200}
    rest.join()


def test_a_head_that_does_not_arrive_in_time_is_408(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    with connect(server) as connection:
        connection.sendall(LIVE + b"GET /health/live HTTP/1.1\r\nHo")
        first, last = answers(connection, 2)
        assert received(connection) == b""
    assert (first[0], last[0], last[1]["type"]) == (200, 408, "/problems/head-timeout")


@pytest.mark.parametrize("begun", [b"", b"\r\n", LIVE])
def test_an_idle_connection_is_closed(begun: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "IDLE_SECONDS", 0.1)
    with connect(server) as connection:
        connection.sendall(begun)
        assert received(connection).count(b"HTTP/1.1") == (begun == LIVE)


def test_a_body_that_nobody_reads_does_not_hold_its_connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    message = b"POST /health/live HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(message + bytes(1000))
        assert answers(connection, 1)[0][0] == 405  # at once
        connection.sendall(bytes(199_000) + LIVE)
        assert answers(connection, 1)[0][0] == 200
    monkeypatch.setattr(protocol, "BODY_SECONDS", 0.1)
    with connect(server) as connection:
        connection.sendall(message)
        assert received(connection).startswith(b"HTTP/1.1 405 ")


@pytest.mark.processes
def test_a_client_that_reads_nothing_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.1)
    with connect(server) as connection:
        connection.settimeout(4)
        with pytest.raises((TimeoutError, ConnectionError)):
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        with contextlib.suppress(ConnectionError):
            received(connection)  # ends, as the connection is closed


@pytest.mark.parametrize("side", [28, 280])
def test_a_client_that_only_sends_no_more_gets_its_answers(side: int, server: Server, seven, encode) -> None:
    message = request(encode(seven.resize((side, side))))
    for count in (1, 3):
        with connect(server) as connection:
            connection.sendall(LIVE + message * count)
            connection.shutdown(socket.SHUT_WR)
            live, *found = answers(connection, 1 + count)
            assert received(connection) == b""
        assert [live[0], *((status, body["digit"]) for status, body in found)] == [200, *[(200, 7)] * count]


@pytest.mark.parametrize("message", [LIVE[:-3], request(b"abc")[:-1], chunked(b"abc", 3)[:-1]])
def test_a_client_that_ends_in_the_middle_of_a_request_has_left(message: bytes, connection: socket.socket) -> None:
    connection.sendall(message)
    connection.shutdown(socket.SHUT_WR)
    assert received(connection) == b""


def test_clients_that_leave_free_their_places(tmp_path, picture: bytes, encode, seven) -> None:
    with running(Settings(home=tmp_path / "home", max_concurrent_images=1000)) as server:
        batcher: DynamicBatcher = server.app.state.inference.batcher
        tile = encode(seven.resize((28, 28)))
        for _ in range(200):
            with connect(server) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.sendall(request(tile) * 3)
        wait_until(lambda: batcher.admitted == 0)
        assert server.predict(picture)["digit"] == 7
