"""A complete answer, and the bytes that carry it over HTTP/1.1."""

from collections.abc import Iterable
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers = list[tuple[bytes, bytes]]

NO_STORE = (b"cache-control", b"no-store")
"""Every answer but files carries it: what an answer shows may be different, or secret, a moment later."""
JSON: Headers = [(b"content-type", b"application/json"), NO_STORE]


class CompleteResponse(NamedTuple):
    """headers: names in lower case; Content-Length and Connection are added when it is sent."""

    status: int
    headers: Headers
    body: bytes

    def encode(self, more_headers: Iterable[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
        lines = [*map(b": ".join, (*more_headers, *self.headers))]
        if not keep_alive:
            lines.append(b"connection: close")
        lines.append(b"content-length: %d" % len(self.body))
        return STATUS_LINE[self.status] + b"\r\n".join((*lines, b"", self.body))
