"""What operators see of a request: its id, its line in the log, and its part in the metrics."""

import asyncio
import itertools
import re
import secrets
from collections.abc import Awaitable
from time import perf_counter
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import Lines, request_id
from app.metrics import Metrics

UNMATCHED = "unmatched"
"""The route of a request whose path is none of ours: a path is whatever somebody sent."""
CLIENT_LEFT = 499
"""The status, as nginx has it, of a request whose client did not wait for the answer."""
UNLOGGED = {"/health", "/health/live", "/health/ready", "/metrics"}

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class _Ended(NamedTuple):
    scope: Scope
    identity: str
    trace: str | None
    status: int
    seconds: float


class Access:
    """Watches every request of one worker. lines: where they are logged, None for nowhere.

    Requests that end in the same turn of the event loop are written down together: that takes half the time.
    """

    def __init__(self, metrics: Metrics, lines: Lines | None) -> None:
        self._metrics = metrics
        self._lines = lines
        self._worker = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._ended: list[_Ended] = []

    async def watch(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Has `app` answer, and gives its answer the ids that came with the request, or one that is made here."""
        started = perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        identity = given.decode() if given and _REQUEST_ID.fullmatch(given) else self._identity()
        returned = [(b"x-request-id", identity.encode())]
        traced = _TRACEPARENT.fullmatch(headers[b"traceparent"]) if b"traceparent" in headers else None
        if traced is not None:
            returned.append((b"traceparent", traced[0]))
        request_id.set(identity)
        status = CLIENT_LEFT

        def send_with_ids(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *returned]
            return send(message)

        try:
            await app(scope, receive, send_with_ids)
        finally:
            trace = traced[1].decode() if traced else None
            self._end(_Ended(scope, identity, trace, status, perf_counter() - started))

    def unreadable(self) -> str:
        """Bytes that are no request, which are answered with 400 and this id."""
        identity = self._identity()
        self._end(_Ended({"method": ""}, identity, None, 400, 0.0))
        return identity

    def _identity(self) -> str:
        return f"{self._worker}-{next(self._numbers):x}"

    def _end(self, ended: _Ended) -> None:
        if not self._ended:
            asyncio.get_running_loop().call_soon(self._write_down)
        self._ended.append(ended)

    def _write_down(self) -> None:
        lines = []
        for scope, identity, trace, status, seconds in self._ended:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", UNMATCHED)
            problem = scope.get("state", {}).get("problem")
            self._metrics.request(method, route, status, seconds)
            if problem is not None:
                self._metrics.refusal(problem)
            if route in UNLOGGED:
                continue
            line = {"request_id": identity, "method": method, "route": route, "status": status}
            line["duration"] = round(seconds, 6)
            if trace is not None:
                line["trace_id"] = trace
            if problem is not None:
                line["problem"] = problem
            lines.append(line)
        self._ended.clear()
        if self._lines is not None and lines:
            self._lines.requests(lines)
