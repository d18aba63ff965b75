"""Every answer belongs to its request: pipelined requests of many kinds, split at random places."""

import json
import random
import socket
import threading
import zlib
from dataclasses import dataclass

import numpy as np
import pytest

from tests.support.connection import connect
from tests.support.service import Server

CONNECTIONS, REQUESTS = 8, 700
PIXELS = (28, 90)
"""The sides of images on the fast path and on the route."""

pytestmark = pytest.mark.processes


@dataclass(frozen=True)
class Exchange:
    """A request, and what its answer must hold."""

    written: bytes
    identity: bytes
    status: int
    content: dict


@pytest.fixture(scope="module")
def pictures(test_digits, encode) -> list[bytes]:
    """Digits that all look different."""
    found = []
    for number in range(40):
        side = PIXELS[number % 2]
        tile = np.kron(test_digits.images[number], np.ones((-(-side // 28), -(-side // 28)), np.uint8))[:side, :side]
        found.append(encode(tile))
    return found


def exchanges(alone: dict[bytes, dict], seed: int) -> list[Exchange]:
    """alone: pictures, and the prediction of each when nothing else is asked."""
    choose = random.Random(seed)
    pictures = list(alone)
    made = []
    for number in range(REQUESTS):
        identity = b"%d-%d" % (seed, number)
        lines = [b"Host: x", b"X-Request-ID: " + identity]
        kind = choose.choice(["predict", "predict", "predict", "chunked", "bad", "live", "missing", "early"])
        status, content, body, target = 200, {}, b"", b"POST /predict"
        if kind in ("predict", "chunked"):
            body = choose.choice(pictures)
            content = alone[body]
        if kind == "predict" and choose.random() < 0.3:
            body = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + body + b"\r\n--x--\r\n"
            lines.append(b"Content-Type: multipart/form-data; boundary=x")
        elif kind == "predict" and choose.random() < 0.2:
            body = zlib.compress(body)
            lines.append(b"Content-Encoding: deflate")
        elif kind == "bad":  # its body looks like a request
            status, content = 415, {"type": "/problems/unknown-format"}
            body = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" * choose.randrange(1, 9)
        elif kind == "live":
            target, content = b"GET /health/live", {"status": "live"}
        elif kind == "missing":
            target, status, content = b"GET /none/%d" % number, 404, {"detail": f"GET /none/{number}: Not Found"}
        elif kind == "early":  # it is answered before its body has arrived
            target, status, body = b"POST /health/live", 405, b"\r\n\r\n" * choose.randrange(1, 30_000)
        if kind == "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            size = choose.choice([7, 100, 5000])
            chunks = [body[i : i + size] for i in range(0, len(body), size)]
            trailer = choose.choice([b"", b"X-Request-ID: trailer\r\n"])
            body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + trailer + b"\r\n"
        elif body:
            lines.append(b"Content-Length: %d" % len(body))
        written = b"\r\n".join([target + b" HTTP/1.1", *lines, b"", body])
        made.append(Exchange(written, identity, status, content))
    return made


def send(connection: socket.socket, data: bytes, choose: random.Random) -> None:
    at = 0
    while at < len(data):
        size = choose.choice([1, 2, 3, 10, 100, 1000, 10_000, 100_000])
        connection.sendall(data[at : at + size])
        at += size


def check(server: Server, alone: dict[bytes, dict], seed: int, answered: list[int]) -> None:
    expected = exchanges(alone, seed)
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = b"".join(exchange.written for exchange in expected)
        sender = threading.Thread(target=send, args=[connection, data, random.Random(seed)])
        sender.start()
        with connection.makefile("rb") as received:
            for exchange in expected:
                status = int(received.readline().split(b" ")[1])
                headers = dict(line.rstrip().split(b": ", 1) for line in iter(received.readline, b"\r\n"))
                content = json.loads(received.read(int(headers[b"content-length"])))
                answered.append(status)
                assert headers[b"x-request-id"] == exchange.identity
                if status == 503 and "digit" in exchange.content:  # a busy machine refuses a picture
                    continue
                assert status == exchange.status, content
                for name, value in exchange.content.items():
                    assert content[name] == (pytest.approx(value, abs=1e-4) if name != "steps" else value), exchange
        sender.join()


def test_every_answer_belongs_to_its_request(server: Server, pictures: list[bytes]) -> None:
    answered: list[int] = []
    alone = {picture: server.predict(picture) for picture in pictures}
    threads = [threading.Thread(target=check, args=[server, alone, seed, answered]) for seed in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answered) == CONNECTIONS * REQUESTS
    assert answered.count(503) < REQUESTS
