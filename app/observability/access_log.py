"""What operators see of a request: its id, its line in the log, and its part in the metrics."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Awaitable
from time import perf_counter
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.logs import LogHandler
from app.observability.metrics import Metrics

UNMATCHED = "unmatched"
"""The route of a request whose path is none of ours: a path is whatever somebody sent."""
CLIENT_LEFT = 499
"""The status, as nginx has it, of a request whose client did not wait for the answer."""
UNLOGGED = {"/health", "/health/live", "/health/ready", "/metrics"}

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIds(NamedTuple):
    """Of a request: its id and, where it is part of a trace, that one's; headers: those that give them back."""

    identity: bytes
    trace: bytes | None
    headers: list[tuple[bytes, bytes]]


class _Ended(NamedTuple):
    scope: Scope
    ids: RequestIds
    status: int
    seconds: float


class AccessLog:
    """Watches every request of one worker. lines: where they are logged, None for nowhere.

    Requests that end in the same turn of the event loop are written down together: that takes half the time.
    """

    def __init__(self, metrics: Metrics, lines: LogHandler | None) -> None:
        self._metrics = metrics
        self._lines = lines
        self._worker = secrets.token_hex(6).encode()
        self._numbers = itertools.count(1)
        self._ended: list[_Ended] = []

    async def watch(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Has `app` answer, and gives its answer the ids that came with the request, or one that is made here."""
        started = perf_counter()
        ids = self.ids(scope)
        scope.setdefault("state", {})["request_id"] = ids.identity
        status = CLIENT_LEFT

        def send_with_ids(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *ids.headers]
            return send(message)

        try:
            await app(scope, receive, send_with_ids)
        finally:
            self.end(scope, ids, status, started)

    def unreadable(self) -> bytes:
        """Bytes that are no request, which are answered with 400 and this id."""
        scope: Scope = {"method": "", "headers": [], "state": {}}
        ids = self.ids(scope)
        self.end(scope, ids, 400, perf_counter())
        return ids.identity

    def left(self, scope: Scope) -> None:
        """A client was gone before anybody had looked at its request."""
        self.end(scope, self.ids(scope), CLIENT_LEFT, perf_counter())

    def ids(self, scope: Scope) -> RequestIds:
        """The ids that came with a request, as far as they are well formed, or one that is made here."""
        identity, trace, returned = b"", None, []
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                identity = value
            elif name == b"traceparent" and (traced := _TRACEPARENT.fullmatch(value)):
                trace = traced[1]
                returned.append((name, value))
        identity = identity or b"%b-%x" % (self._worker, next(self._numbers))
        return RequestIds(identity, trace, [*returned, (b"x-request-id", identity)])

    def end(self, scope: Scope, ids: RequestIds, status: int, started: float) -> None:
        """A request that began at `started`, as perf_counter tells, has been answered or given up."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._write_down)
        self._ended.append(_Ended(scope, ids, status, perf_counter() - started))

    def _write_down(self) -> None:
        ended, self._ended = self._ended, []
        lines: list[bytes] = []
        now = self._lines.now() if self._lines else ""
        for scope, (identity, trace, _), status, seconds in ended:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", UNMATCHED)
            problem = scope["state"].get("problem")
            self._metrics.request(method, route, status, seconds)
            if problem is not None:
                self._metrics.refusal(problem)
            if self._lines is not None and route not in UNLOGGED:
                lines.append(self._lines.request(now, identity, method, route, status, seconds, trace, problem))
        if self._lines is not None:
            self._lines.write(lines)
