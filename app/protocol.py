"""HTTP/1.1 as uvicorn speaks it with httptools, and what Inkling needs beyond that."""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.access import Access

MAX_HEAD_BYTES = 65_536
LINGER_SECONDS = 0.25


class Protocol(HttpToolsProtocol):
    """Takes no notice of offers to upgrade, bounds a request's head, and tells who cares that a caller has left.

    Java's client, among others, offers HTTP/2 with its first request. The parser thinks that such a request ends with
    its head; so it is held back, and read once more without the offer.
    """

    access: Access
    _head_bytes = 0
    _ending = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        in_head = self._in_head()
        try:
            rest = self._feed(data)
            while rest:
                rest = self._feed(rest)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
            return
        self._head_bytes = self._head_bytes + len(data) if in_head and self._in_head() else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The head of the request is too long.")

    def _feed(self, data: bytes) -> bytes:
        """Parses data; what is left of it begins with a request whose offer to upgrade is taken out."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.scope["method"] == "CONNECT":
                raise httptools.HttpParserError("no proxy") from None
            lines = [
                f"{self.scope['method']} ".encode() + self.url + f" HTTP/{self.parser.get_http_version()}".encode()
            ]
            lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
            return b"\r\n".join([*lines, b"", b""]) + data[offer.args[0] :]
        return b""

    def _should_upgrade(self) -> bool:
        return True  # holds the request back, in uvicorn's callbacks of the parser

    def _in_head(self) -> bool:
        return self.scope is not None and "path" not in self.scope

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self._ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Calls what the application has left in the request's state as `on_disconnect`."""
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and cycle.disconnected and (leave := cycle.scope["state"].get("on_disconnect")):
            leave()

    def shutdown(self) -> None:
        """Ends the connection after the request that it is at; an idle one a little later, for one under way to it."""
        if self.cycle is None or self.cycle.response_complete:
            self._ending = True
            self.loop.call_later(LINGER_SECONDS, self._end_if_idle)
        else:
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn answers what is no HTTP, with an id; and so that operators see it."""
        body = msg.encode()
        head = [
            b"HTTP/1.1 400 Bad Request",
            b"content-type: text/plain; charset=utf-8",
            b"content-length: %d" % len(body),
            b"x-request-id: " + self.access.unreadable(),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()

    def _end_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
