"""Turns every error into an RFC 9457 problem; models/contract.py has the table of problem types."""

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.http.responses import NO_STORE, CompleteResponse
from models.contract import PROBLEM_TYPES
from models.errors import InklingError

log = logging.getLogger(__name__)

_STATUS_NAMES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}

INTERNAL_ERROR = "internal error; your request was fine. Quote the X-Request-ID when you report it"
_MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error as the service answers it. members: further members of the JSON, such as limit, field or job."""

    def __init__(self, name: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    @staticmethod
    def of(error: InklingError) -> "Problem":
        """The problem that the error's class names."""
        if error.problem == "internal-error":
            log.error("a request failed: %s", error)
            return Problem("internal-error", INTERNAL_ERROR)
        return Problem(error.problem, str(error), **error.members)

    def content(self) -> dict[str, Any]:
        kind = PROBLEM_TYPES[self.name]
        return {
            "type": f"/problems/{self.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> CompleteResponse:
        status = PROBLEM_TYPES[self.name].status
        headers = {"Content-Type": _MEDIA_TYPE, **({"Retry-After": "1"} if status == 503 else {}), **self.headers}
        lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return CompleteResponse(status, [*lines, NO_STORE], to_json(self.content()))


def problem_of(request: Request, error: Exception) -> Problem:
    """The problem for an error of any kind; stores its name in the request's state for the access log."""
    problem = _find_problem(request, error)
    request.scope.setdefault("state", {})["problem"] = problem.name
    return problem


def _find_problem(request: Request, error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case InklingError():
            return Problem.of(error)
        case HTTPException() if error.status_code < 500:
            name = _STATUS_NAMES.get(error.status_code, "bad-request")
            return Problem(name, f"{request.method} {request.url.path}: {error.detail}", error.headers)
        case RequestValidationError():
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            return Problem("bad-parameter", f"{field}: {first['msg']}", field=field)
        case ClientDisconnect():
            return Problem("bad-request", "the client disconnected before its body was complete")
        case HTTPException():
            log.error("a request failed: %s", error)
            return Problem("internal-error", INTERNAL_ERROR)
        case _:
            return Problem("internal-error", INTERNAL_ERROR)


def install(app: FastAPI) -> None:
    """Makes the application answer every error with its problem."""
    for kind in (Problem, InklingError, HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, respond)


async def respond(request: Request, error: Exception) -> Response:
    """The exception handler of every error."""
    status, headers, body = problem_of(request, error).response()
    response = Response(body, status)
    response.raw_headers += headers
    return response
