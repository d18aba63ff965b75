"""What operators see of a request: its id, its line in the log, and its part in the metrics."""

import asyncio
import itertools
import re
import secrets
from time import perf_counter

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


class Access:
    """Watches every request of one worker. lines: where they are logged, None for nowhere."""

    def __init__(self, metrics: Metrics, lines: Lines | None) -> None:
        self._metrics = metrics
        self._lines = lines
        self._worker = secrets.token_hex(6)
        self._numbers = itertools.count(1)

    async def watch(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Has `app` answer, and gives its answer the ids that came with the request, or one that is made here."""
        started = perf_counter()
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        identity = given.decode() if _REQUEST_ID.fullmatch(given) else self._identity()
        returned = [(b"x-request-id", identity.encode())]
        trace = _TRACEPARENT.fullmatch(headers[b"traceparent"]) if b"traceparent" in headers else None
        if trace is not None:
            returned.append((b"traceparent", trace[0]))
        request_id.set(identity)
        status = 0

        async def send_with_ids(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *returned]
            await send(message)

        try:
            await app(scope, receive, send_with_ids)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            self._ended(
                scope["method"],
                route,
                status or CLIENT_LEFT,
                perf_counter() - started,
                identity,
                trace[1].decode() if trace else None,
                scope["state"].get("problem"),
            )

    def unreadable(self) -> str:
        """Bytes that are no request, which are answered with 400 and this id."""
        identity = self._identity()
        self._ended("", UNMATCHED, 400, 0.0, identity, None, None)
        return identity

    def _identity(self) -> str:
        return f"{self._worker}-{next(self._numbers):x}"

    def _ended(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        identity: str,
        trace: str | None,
        problem: str | None,
    ) -> None:
        if method not in _METHODS:
            method = "other"
        self._metrics.request(method, route, status, seconds)
        if problem is not None:
            self._metrics.refusal(problem)
        if self._lines is None or route in UNLOGGED:
            return
        fields = {
            "request_id": identity,
            "method": method,
            "route": route,
            "status": status,
            "duration": round(seconds, 6),
        }
        if trace is not None:
            fields["trace_id"] = trace
        if problem is not None:
            fields["problem"] = problem
        self._lines.request(fields, asyncio.get_running_loop().call_soon)
