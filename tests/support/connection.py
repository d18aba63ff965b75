"""HTTP/1.1 written by hand on a socket."""

import json
import re
import socket

from tests.support.service import Server


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def request(body: bytes, headers: bytes = b"", method: bytes = b"POST /predict") -> bytes:
    return method + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def answers(connection: socket.socket, count: int) -> list[tuple[int, dict]]:
    """Reads this many answers from a connection; fails if more bytes arrive."""
    data = b""
    found: list[tuple[int, dict]] = []
    while len(found) < count:
        head, separator, rest = data.partition(b"\r\n\r\n")
        length = int(found_length[1]) if (found_length := re.search(rb"content-length: (\d+)", head)) else 0
        if separator and len(rest) >= length:
            status = int(head.split(b" ")[1])
            found.append((status, json.loads(rest[:length]) if status != 100 else {}))
            data = rest[length:]
        else:
            received = connection.recv(65536)
            assert received, data
            data += received
    assert data == b""
    return found
