"""The protocol on raw bytes over a socket, in pieces of any size."""

import socket
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from app.settings import Settings
from models.inference.batcher import DynamicBatcher
from tests.support.connection import answers, connect, request
from tests.support.service import Server, running
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


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n" + b"A" * 400_000,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200_000,
    ],
)
def test_bytes_that_are_no_request_end_the_connection(nonsense: bytes, server: Server) -> None:
    with connect(server) as connection:
        try:
            for i in range(0, len(nonsense), 10_000):
                connection.sendall(nonsense[i : i + 10_000])
                time.sleep(0)
            assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
        except (ConnectionResetError, BrokenPipeError):
            pass  # the server refused it before all of it was sent
    assert server.client.get("/health/live").status_code == 200


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
