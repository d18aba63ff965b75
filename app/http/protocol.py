"""uvicorn's HTTP/1.1 protocol on httptools, with limits, the fast path, and notice of disconnected clients."""

import asyncio
import logging
from typing import cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.http import lifecycle
from app.http.fast_predict import FastPredict, PendingResponse
from app.http.responses import CompleteResponse
from app.observability.access_log import AccessLog

MAX_HEAD_BYTES = 65_536
LINGER_SECONDS = 0.25
HOLD_SECONDS, HOLD_BYTES = 0.02, 65_536
"""How long, and up to which size, the fast path waits for an incomplete body."""

log = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    """Ignores HTTP upgrades, limits the size of a request's head, and notifies lifecycle.py of disconnected clients.

    The body of a request that the fast path may answer is held back until it is complete. `fast_predict` is None if the
    fast path is switched off.

    Java's client, among others, offers an upgrade to HTTP/2 in its first request. The parser would end such a request
    after its head, so the request is parsed a second time without the offer.
    """

    request_log: AccessLog  # uvicorn's own `access_log` is a flag
    fast_predict: FastPredict | None
    _held: bytearray | None = None
    """The body received so far of a request that the fast path may answer; None for other requests."""
    _hold_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _ending = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        head_before = self.scope if self._in_head() else None
        try:
            rest = self._feed(data)
            while rest:
                rest = self._feed(rest)
        except httptools.HttpParserError:
            self._take_held()
            self.send_400_response("Invalid HTTP request received.")
            return
        if self._held is not None and self._hold_timer is None:  # many clients send head and body apart
            self._hold_timer = self.loop.call_later(HOLD_SECONDS, self._hand_over)
        # The bytes of one head add up over several calls; each request has a scope of its own.
        self._head_bytes = self._head_bytes + len(data) if head_before is self.scope and self._in_head() else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self.send_400_response("The head of the request is too long.")

    def _feed(self, data: bytes) -> bytes:
        """Parses data. Returns what must be parsed again: a request without its offer to upgrade, and what follows."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.scope["method"] == "CONNECT":
                raise httptools.HttpParserError("CONNECT is for proxies") from None
            lines = [
                f"{self.scope['method']} ".encode() + self.url + f" HTTP/{self.parser.get_http_version()}".encode()
            ]
            lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's parser has it
            return b"\r\n".join([*lines, b"", b""]) + data[offer.args[0] :]
        return b""

    def _should_upgrade(self) -> bool:
        return True  # uvicorn's callbacks then ignore a request with an offer

    def _in_head(self) -> bool:
        return self.scope is not None and "path" not in self.scope and self._held is None

    def on_headers_complete(self) -> None:
        if self._may_be_fast():
            self._held = bytearray()
        else:
            self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body
            if len(self._held) > HOLD_BYTES:
                self._hand_over()

    def on_message_complete(self) -> None:
        if self._held is not None and self._try_fast_path(bytes(self._held)):
            self._take_held()
        else:
            self._hand_over()
            super().on_message_complete()

    def _may_be_fast(self) -> bool:
        return (
            self.fast_predict is not None
            and self.url in self.fast_predict.urls
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.parser.should_upgrade()
            and not self.expect_100_continue
            and not self._ending
            and not self.flow.write_paused  # the application waits for a client that does not read
            and (self.cycle is None or self.cycle.response_complete)
        )

    def _try_fast_path(self, body: bytes) -> bool:
        """Whether the fast path answers this request."""
        if self.fast_predict is None:
            return False
        keep_alive = self.parser.should_keep_alive() and not self._ending
        try:
            pending = self.fast_predict.try_answer(cast(Scope, self.scope), body, keep_alive, self._send_pending)
        except Exception:
            log.exception("the fast path failed")
            return False
        if pending is not None and not pending.response_complete:
            self.cycle = cast(RequestResponseCycle, pending)
        return pending is not None

    def _hand_over(self) -> None:
        """Passes the request that is held back, if there is one, to the application."""
        held = self._take_held()
        if held is not None:
            self._begin_cycle()
            if held:
                super().on_body(bytes(held))

    def _begin_cycle(self) -> None:
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if self._ending and self.cycle is not None:
            self.cycle.keep_alive = False

    def _take_held(self) -> bytearray | None:
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None
        held, self._held = self._held, None
        return held

    def _send_pending(self, pending: PendingResponse, response: CompleteResponse) -> None:
        if self.transport.is_closing():
            return
        self._write(response, keep_alive=pending.keep_alive)
        self.on_response_complete()

    def _write(self, response: CompleteResponse, *, keep_alive: bool) -> None:
        self.transport.write(response.encode(self.server_state.default_headers, keep_alive=keep_alive))
        if not keep_alive:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answers bytes that are not an HTTP request, as uvicorn does, but with an id and a line in the log."""
        request_id = self.request_log.record_unreadable()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-request-id", request_id)]
        self._write(CompleteResponse(400, headers, msg.encode()), keep_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._take_held() is not None and self.fast_predict is not None:
            self.fast_predict.client_left(cast(Scope, self.scope))
        for waiting, _ in self.pipeline:
            self.request_log.record_disconnected(cast(Scope, waiting.scope))
        cycle = self.cycle
        super().connection_lost(exc)
        if cycle is not None and cycle.disconnected:
            lifecycle.client_disconnected(cast(Scope, cycle.scope))

    def shutdown(self) -> None:
        """Ends the connection after its current request; an idle one only after LINGER_SECONDS."""
        if self.cycle is None or self.cycle.response_complete:
            self._ending = True
            self.loop.call_later(LINGER_SECONDS, self._end_if_idle)
        else:
            super().shutdown()

    def _end_if_idle(self) -> None:
        self._hand_over()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
