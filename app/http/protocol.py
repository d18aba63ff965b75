"""HTTP/1.1 as uvicorn speaks it with httptools, and what Inkling needs beyond that."""

import asyncio
import logging
from typing import cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.http.fast_predict import FastPredict, Headers, PendingResponse
from app.observability.access_log import AccessLog

MAX_HEAD_BYTES = 65_536
LINGER_SECONDS = 0.25
HOLD_SECONDS, HOLD_BYTES = 0.02, 65_536
"""For how long, and how much of it, a body is held back that may yet come whole."""

log = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    """Takes no notice of offers to upgrade, bounds a request's head, and tells who cares that a caller has left.

    What may take the fast_predict is held back until its body is there.

    Java's client, among others, offers HTTP/2 with its first request. The parser thinks that such a request ends with
    its head; so it is held back, and read once more without the offer.
    """

    request_log: AccessLog
    fast_predict: FastPredict
    _held: bytearray | None = None
    """The body so far, of a request that may take the fast_predict."""
    _handing_over: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _ending = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        begun = self.scope if self._in_head() else None
        try:
            rest = self._feed(data)
            while rest:
                rest = self._feed(rest)
        except httptools.HttpParserError:
            self._let_go()
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._held is not None and self._handing_over is None:  # many a client sends head and body apart
            self._handing_over = self.loop.call_later(HOLD_SECONDS, self._hand_over)
        # Only where it is the same head still; another one has its own scope.
        self._head_bytes = self._head_bytes + len(data) if begun is self.scope and self._in_head() else 0
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
        return self.scope is not None and "path" not in self.scope and self._held is None

    def on_headers_complete(self) -> None:
        if self._may_be_short():
            self._held = bytearray()
        else:
            self._begin_cycle()

    def _begin_cycle(self) -> None:
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if self._ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body
            if len(self._held) > HOLD_BYTES:
                self._hand_over()

    def on_message_complete(self) -> None:
        if self._held is not None and self._take_shortcut(bytes(self._held)):
            self._let_go()
        else:
            self._hand_over()
            super().on_message_complete()

    def _may_be_short(self) -> bool:
        return (
            self.url == b"/predict"
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
            and not self.expect_100_continue
            and not self._ending
            and not self.flow.write_paused  # the application waits for a client that does not read
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _take_shortcut(self, body: bytes) -> bool:
        """Whether this request has gone the short way."""
        keep_alive = self.parser.should_keep_alive() and not self._ending
        try:
            answering = self.fast_predict.take(cast(Scope, self.scope), body, keep_alive, self._reply)
        except Exception:
            log.exception("the short way failed")
            return False
        if answering is not None and not answering.response_complete:
            self.cycle = cast(RequestResponseCycle, answering)
        return answering is not None

    def _hand_over(self) -> None:
        """What is held back, if anything is, goes the application's way."""
        held = self._let_go()
        if held is not None:
            self._begin_cycle()
            if held:
                super().on_body(bytes(held))

    def _let_go(self) -> bytearray | None:
        if self._handing_over is not None:
            self._handing_over.cancel()
            self._handing_over = None
        held, self._held = self._held, None
        return held

    def _reply(self, answering: PendingResponse, status: int, headers: Headers, body: bytes) -> None:
        if self.transport.is_closing():
            return
        lines = [name + b": " + value for name, value in (*self.server_state.default_headers, *headers)]
        if not answering.keep_alive:
            lines.append(b"connection: close")
        head = b"\r\n".join((*lines, b"content-length: %d" % len(body), b"", body))
        self.transport.write(STATUS_LINE[status] + head)
        if not answering.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Calls what the application has left in the request's state as `on_disconnect`."""
        if self._let_go() is not None:
            self.fast_predict.leave(cast(Scope, self.scope))
        for waiting, _ in self.pipeline:
            self.request_log.left(cast(Scope, waiting.scope))
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
            b"x-request-id: " + self.request_log.unreadable(),
            b"connection: close",
        ]
        self.transport.write(b"\r\n".join([*head, b"", body]))
        self.transport.close()

    def _end_if_idle(self) -> None:
        self._hand_over()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
