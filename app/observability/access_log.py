"""Request ids, the access log, and the request metrics."""

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
"""The route of a request that no route matches. Its path is not logged, because it may contain anything."""
CLIENT_LEFT = 499
"""The status, as in nginx, of a request whose client disconnected before the answer."""
UNLOGGED = {"/health", "/health/live", "/health/ready", "/metrics"}

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIds(NamedTuple):
    """A request's id, its trace id if it is part of a trace, and the headers that return both."""

    request: bytes
    trace: bytes | None
    headers: list[tuple[bytes, bytes]]


class _Ended(NamedTuple):
    scope: Scope
    ids: RequestIds
    status: int
    seconds: float


class AccessLog:
    """Records every request of one worker in the metrics and, unless `log` is None, in the log.

    Requests that end in the same turn of the event loop are written together, which takes half the time.
    """

    def __init__(self, metrics: Metrics, log: LogHandler | None) -> None:
        self._metrics = metrics
        self._log = log
        self._worker = secrets.token_hex(6).encode()
        self._numbers = itertools.count(1)
        self._ended: list[_Ended] = []

    async def watch(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs `app` and adds the request's ids to its answer."""
        started = perf_counter()
        ids = self.ids(scope)
        scope.setdefault("state", {})["request_id"] = ids.request
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
            self.record(scope, ids, status, started)

    def record_unreadable(self, status: int, problem: str) -> bytes:
        """Records bytes that are not an HTTP request; returns the id for the answer, which is this problem."""
        scope: Scope = {"method": "", "headers": [], "state": {"problem": problem}}
        ids = self.ids(scope)
        self.record(scope, ids, status, perf_counter())
        return ids.request

    def record_disconnected(self, scope: Scope) -> None:
        """Records a request whose client disconnected before it was handled."""
        self.record(scope, self.ids(scope), CLIENT_LEFT, perf_counter())

    def ids(self, scope: Scope) -> RequestIds:
        """The valid ids that came with a request, or a new request id."""
        request_id, trace, returned = b"", None, []
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                request_id = value
            elif name == b"traceparent" and (traced := _TRACEPARENT.fullmatch(value)):
                trace = traced[1]
                returned.append((name, value))
        request_id = request_id or b"%b-%x" % (self._worker, next(self._numbers))
        return RequestIds(request_id, trace, [*returned, (b"x-request-id", request_id)])

    def record(self, scope: Scope, ids: RequestIds, status: int, started: float) -> None:
        """Records the end of a request that began at `started`, a value of perf_counter."""
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._write_ended)
        self._ended.append(_Ended(scope, ids, status, perf_counter() - started))

    def _write_ended(self) -> None:
        ended, self._ended = self._ended, []
        lines: list[bytes] = []
        now = self._log.now() if self._log else ""
        for scope, (request_id, trace, _), status, seconds in ended:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", UNMATCHED)
            problem = scope["state"].get("problem")
            self._metrics.request(method, route, status, seconds)
            if problem is not None:
                self._metrics.refusal(problem)
            if self._log is not None and route not in UNLOGGED:
                lines.append(self._log.request(now, request_id, method, route, status, seconds, trace, problem))
        if self._log is not None:
            self._log.write(lines)
