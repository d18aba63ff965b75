"""uvicorn's HTTP/1.1 protocol on httptools, with bounds on what a connection holds, the fast path, and notice of
disconnected clients.
"""

import asyncio
import logging
import math
import socket
from typing import Literal, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.http import lifecycle
from app.http.body import BODY_SECONDS, header
from app.http.fast_predict import FastPredict, PendingResponse
from app.http.problems import Problem
from app.http.responses import CompleteResponse
from app.observability.access_log import AccessLog

MAX_HEAD_BYTES = 65_536
MAX_FRAMING_BYTES = 8_192
"""How much of a chunked body may follow its last byte of content: trailers, extensions and sizes of chunks."""
HEAD_SECONDS = 10
IDLE_SECONDS = 75
"""How long a connection may have no request."""
STALLED_SECONDS = 60
"""How long a client may leave an answer unread."""
LINGER_SECONDS = 5
"""How long an answered client that still sends is listened to: one that is cut off never reads its answer."""
SHUTDOWN_SECONDS = 0.25
HOLD_SECONDS, HOLD_BYTES = 0.02, 65_536
"""How long, and up to which size, the fast path waits for an incomplete body."""
PROBE_SECONDS = 0.1

_BLANK_LINE = b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

log = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    """Handles one request at a time: what follows it waits, unparsed, and meanwhile the connection is not read.

    Ignores HTTP upgrades, drops trailers, limits heads in size and time, and notifies lifecycle.py of disconnected
    clients. A client may shut down its sending side after a request. Instead of a timer for each request, `check` is
    called once a second.

    The body of a request that the fast path may answer is held back until it is complete. `fast_predict` is None if the
    fast path is switched off.

    Java's client, among others, offers an upgrade to HTTP/2 in its first request. The parser would end such a request
    after its head, so the request is parsed a second time without the offer.
    """

    request_log: AccessLog  # uvicorn's own `access_log` is a flag
    fast_predict: FastPredict | None
    _phase: Literal["idle", "head", "body", "complete"] = "idle"
    """What was received of the current request; after `complete` nothing is parsed until it is answered."""
    _deadline = math.inf
    """When `_expire` is due, by the loop's clock."""
    _ended = False
    """Whether the parser has come to the end of a request."""
    _framing = 0
    """Bytes parsed since the request began or its last byte of content came."""
    _body_left = 0
    """What is missing of a body with a Content-Length."""
    _tail = b""
    """The last three bytes of an incomplete head or chunked body: a blank line may begin in them."""
    _unparsed = b""
    _parsed = 0
    """How much of `_unparsed` is parsed after all."""
    _held: bytearray | None = None
    """The body received so far of a request that the fast path may answer; None for other requests."""
    _timer: asyncio.TimerHandle | None = None
    """Ends the wait for a body that is held back, or begins the next look at a client that sends no more."""
    _half_closed = _probed = False
    _lingering = False
    _ending = False
    _unsent = 0
    _unsent_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._closer = cast(asyncio.Transport, _Closer(self))
        self._deadline = self.loop.time() + IDLE_SECONDS

    def data_received(self, data: bytes) -> None:
        if self._lingering:
            return
        if self._unparsed or self._phase == "complete" or (self._phase == "idle" and self.flow.write_paused):
            self._unparsed, self._parsed = self._unparsed[self._parsed :] + data, 0
            self.transport.pause_reading()
        else:
            self._parse(data, 0)

    def _parse(self, data: bytes, at: int) -> None:
        """Parses data from `at` to the end of one request at most. The rest waits for its turn."""
        self._ended = False
        try:
            while at < len(data) and not self._ended and not self._lingering:
                at = self._parse_piece(data, at)
        except httptools.HttpParserError as error:
            cause = error.__context__  # what a callback raised
            reason = str(cause if isinstance(cause, httptools.HttpParserError) else error)[:200]
            self._refuse(Problem("bad-request", f"the request is not HTTP/1.1: {reason}"))
        if self._lingering or self.transport.is_closing():
            return
        if at < len(data):
            self._unparsed, self._parsed = data, at
            self.transport.pause_reading()
            if self._phase == "idle":  # answered already
                self.loop.call_soon(self._continue)
        elif self._held is not None and self._timer is None:  # many clients send head and body apart
            self._timer = self.loop.call_later(HOLD_SECONDS, self._hand_over)
        elif self._phase == "head" and self._deadline == math.inf:
            self._deadline = self.loop.time() + HEAD_SECONDS

    def _continue(self) -> None:
        """Parses what waits, if its turn has come."""
        data = self._unparsed
        if not data or self._lingering or self._phase == "complete" or self.flow.write_paused:
            return
        self._unparsed = b""
        self._parse(data, self._parsed)
        if not self._unparsed and not self.flow.read_paused:
            self.transport.resume_reading()

    def _parse_piece(self, data: bytes, at: int) -> int:
        """Parses data from `at` no further than the request's end, and at most one head. Returns where it stopped.

        Heads and chunked bodies end with a blank line, and other bodies have a known length.
        """
        if self._body_left:
            end = at + self._body_left
        elif self._tail and not at and (straddling := (self._tail + data[:3]).find(_BLANK_LINE)) >= 0:
            end = straddling + len(_BLANK_LINE) - len(self._tail)
        else:
            limit = min(len(data), at + MAX_FRAMING_BYTES) if self._phase == "body" else len(data)
            found = data.find(_BLANK_LINE, max(0, at - 3), limit)
            end = limit if found < 0 else found + len(_BLANK_LINE)
        piece = data[at:end] if at or end < len(data) else data
        self._framing += len(piece)
        if self._phase != "body" and self._framing > MAX_HEAD_BYTES:
            raise _Malformed(f"its head has more than {MAX_HEAD_BYTES:,} bytes")
        rest = piece
        while rest:
            rest = self._feed(rest)
        self._tail = b"" if self._ended or self._body_left else (self._tail + piece[-3:])[-3:]
        if self._phase == "body" and self._framing > MAX_FRAMING_BYTES:
            raise _Malformed(f"more than {MAX_FRAMING_BYTES:,} bytes of trailers, or of a chunk's head")
        return end

    def _feed(self, data: bytes) -> bytes:
        """Parses data. Returns what must be parsed again: a request without its offer to upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self.parser.get_method() == b"CONNECT":
                raise _Malformed("CONNECT is for proxies") from None
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

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._deadline = "head", math.inf

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase == "head":
            super().on_header(name, value)
            return
        self._framing += len(name) + len(value)  # a trailer: nothing that we use may come as one
        if self._framing > MAX_FRAMING_BYTES:
            raise _Malformed(f"more than {MAX_FRAMING_BYTES:,} bytes of trailers")

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            super().on_headers_complete()
            return
        if self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # such a client takes an interim response for the answer
        if self._may_be_fast():
            self._held = bytearray()
        else:
            self._begin_cycle()
        self._phase, self._deadline, self._framing = "body", math.inf, 0
        self._body_left = int(header(cast(Scope, self.scope), b"content-length") or 0)

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        if self._body_left:
            self._body_left -= len(body)
        if self._held is None:
            super().on_body(body)
        else:
            self._held += body
            if len(self._held) > HOLD_BYTES:
                self._hand_over()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._phase, self._ended, self._framing = "complete", True, 0
        if self._held is not None and self._try_fast_path(bytes(self._held)):
            self._take_held()
            return
        self._hand_over()
        self.flow.resume_reading()  # uvicorn pauses it when much of a body waits, and then misses that the client left
        if self.cycle.response_complete:
            self._await_request()
        else:
            super().on_message_complete()

    def _may_be_fast(self) -> bool:
        return (
            self.fast_predict is not None
            and self.url in self.fast_predict.urls
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self._ending
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
        super().on_headers_complete()
        self.cycle.transport = self._closer
        if self._ending:
            self.cycle.keep_alive = False

    def _take_held(self) -> bytearray | None:
        self._stop_timer()
        held, self._held = self._held, None
        return held

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_pending(self, pending: PendingResponse, response: CompleteResponse) -> None:
        if self.transport.is_closing():
            return
        self._write(response, keep_alive=pending.keep_alive)
        if not pending.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _write(self, response: CompleteResponse, *, keep_alive: bool) -> None:
        self.transport.write(response.encode(self.server_state.default_headers, keep_alive=keep_alive))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._lingering or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._phase == "complete":
            self._await_request()
            self._continue()
        else:  # the rest of a body that nobody reads
            self._deadline = self.loop.time() + BODY_SECONDS

    def _await_request(self) -> None:
        self._phase, self._deadline = "idle", self.loop.time() + IDLE_SECONDS
        if self._half_closed and not self._unparsed:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answers bytes that are no request, or spoil one whose answer has not begun; ends the connection."""
        spoilt = self.cycle if self._phase == "body" and self._held is None else None
        if spoilt is not None and not spoilt.response_complete:
            self._leave(spoilt)
        if spoilt is None or not spoilt.response_started:
            status, headers, body = problem.response()
            request_id = self.request_log.record_unreadable(status, problem.name)
            self._write(CompleteResponse(status, [*headers, (b"x-request-id", request_id)], body), keep_alive=False)
        self._linger()

    def _linger(self) -> None:
        """Ends the connection once the client has: until then reads what it sends, for LINGER_SECONDS at most."""
        self._take_held()
        self._lingering, self._unparsed = True, b""
        self._deadline = self.loop.time() + LINGER_SECONDS
        self.transport.write_eof()
        self.flow.resume_reading()

    def close(self) -> None:
        """Closes the connection, after LINGER_SECONDS or less if the client still sends the body of its request."""
        if self._phase == "body" and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()

    def check(self, now: float) -> None:
        """Ends a connection whose time is over. The server calls this once a second."""
        unsent = self.transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        if unsent:
            if now > self._unsent_since + STALLED_SECONDS:
                self.transport.abort()
        elif now > self._deadline:
            self._expire()

    def _expire(self) -> None:
        if self._phase == "head" and not self._lingering:
            self._refuse(Problem("head-timeout", f"the head of the request was not complete after {HEAD_SECONDS} s"))
        else:
            self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keeps the connection of a client that waits for its answer. One that follows a stream has left it."""
        answering = self._in_flight()
        if self._lingering or self._phase != "complete" or answering is None:
            return False
        if answering.response_started and answering.chunked_encoding:
            return False
        self._half_closed = True
        self._timer = self.loop.call_later(PROBE_SECONDS, self._probe)
        return True

    def _probe(self) -> None:
        """Tells a client that only sends no more from one that is gone: the latter's kernel resets the connection.

        It does so when it receives something, so this sends an interim response, which a client ignores.
        """
        answering = self._in_flight()
        if answering is None or self.transport.is_closing():
            return
        connection: socket.socket = self.transport.get_extra_info("socket")
        if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.transport.abort()
            return
        if not self._probed and not answering.response_started and self.scope["http_version"] == "1.1":
            self.transport.write(_CONTINUE)
        self._probed = True
        self._timer = self.loop.call_later(PROBE_SECONDS, self._probe)

    def _in_flight(self) -> RequestResponseCycle | None:
        """The request that is being answered."""
        return None if self.cycle is None or self.cycle.response_complete else self.cycle

    def resume_writing(self) -> None:
        super().resume_writing()
        self._continue()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        if self._take_held() is not None and self.fast_predict is not None:
            self.fast_predict.client_left(cast(Scope, self.scope))
        answering = self._in_flight()
        super().connection_lost(exc)
        if answering is not None:
            self._leave(answering)

    @staticmethod
    def _leave(answering: RequestResponseCycle) -> None:
        """Tells the application that nobody waits for this answer."""
        answering.disconnected = True
        answering.message_event.set()
        lifecycle.client_disconnected(cast(Scope, answering.scope))

    def shutdown(self) -> None:
        """Ends the connection after its current request; an idle one only after SHUTDOWN_SECONDS."""
        if self._in_flight() is None:
            self._ending = True
            self.loop.call_later(SHUTDOWN_SECONDS, self._end_if_idle)
        else:
            super().shutdown()

    def _end_if_idle(self) -> None:
        self._hand_over()
        if self._in_flight() is None:
            self.transport.close()


class _Malformed(httptools.HttpParserError):
    """What httptools accepts and this protocol does not."""


class _Closer:
    """The transport as uvicorn's cycle uses it, with the protocol's way to close it."""

    def __init__(self, protocol: Protocol) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.close
