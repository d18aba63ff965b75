"""Errors as RFC 9457 problems: one table of names, and the handlers that turn every error into one of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.storage.database import DatabaseUnavailable, StorageFull
from app.storage.jobs import JobEnded, JobRunning, KeyReused, UnknownJob
from models import errors


@dataclass(frozen=True)
class ProblemType:
    status: int
    title: str


PROBLEM_TYPES = {
    "empty-body": ProblemType(400, "The request has no picture in it"),
    "malformed-multipart": ProblemType(400, "The multipart body can not be parsed"),
    "bad-request": ProblemType(400, "The request can not be understood"),
    "wrong-key": ProblemType(401, "This call needs the key"),
    "no-key-configured": ProblemType(403, "This call needs a key, and the service has none"),
    "not-found": ProblemType(404, "There is nothing here"),
    "method-not-allowed": ProblemType(405, "This path does not answer that method"),
    "job-running": ProblemType(409, "Another job is not done yet"),
    "job-ended": ProblemType(409, "The job has ended"),
    "broken-version": ProblemType(409, "The version does not load"),
    "body-timeout": ProblemType(408, "The body took too long to arrive"),
    "body-too-large": ProblemType(413, "The body has too many bytes"),
    "too-many-images": ProblemType(413, "The batch has too many pictures"),
    "too-many-pixels": ProblemType(413, "The picture has too many pixels"),
    "unknown-format": ProblemType(415, "The bytes are of no picture format that we read"),
    "urlencoded-form": ProblemType(415, "A urlencoded form can not carry a picture"),
    "wrong-field": ProblemType(422, "The multipart body lacks the field that holds the picture"),
    "corrupt-picture": ProblemType(422, "The picture is truncated or corrupt"),
    "nothing-drawn": ProblemType(422, "The picture has nothing drawn on it"),
    "bad-parameter": ProblemType(422, "A parameter does not fit"),
    "idempotency-key-reused": ProblemType(422, "The idempotency key came before, with another body"),
    "internal-error": ProblemType(500, "Something went wrong on our side"),
    "overloaded": ProblemType(503, "There is no room for another picture right now"),
    "not-ready": ProblemType(503, "The service can not predict right now"),
    "database-unavailable": ProblemType(503, "The database does not answer right now"),
    "storage-full": ProblemType(507, "There is no room to keep it"),
}

# The errors of `models` that a request can meet. The others are met before the service starts.
NAMES: dict[type[errors.InklingError], str] = {
    errors.UnknownFormat: "unknown-format",
    errors.TooManyPixels: "too-many-pixels",
    errors.CorruptPicture: "corrupt-picture",
    errors.NothingDrawn: "nothing-drawn",
    errors.Overloaded: "overloaded",
    errors.InferenceFailed: "not-ready",
    errors.DeviceLost: "not-ready",
    errors.UnknownVersion: "not-found",
    errors.BrokenVersion: "broken-version",
    DatabaseUnavailable: "database-unavailable",
    StorageFull: "storage-full",
    UnknownJob: "not-found",
    JobRunning: "job-running",
    JobEnded: "job-ended",
    KeyReused: "idempotency-key-reused",
}

_STATUS_NAMES = {400: "bad-request", 404: "not-found", 405: "method-not-allowed"}


_MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that is ready to be sent. `members` are extra members: limit, field, job."""

    def __init__(self, name: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members

    @staticmethod
    def of(error: errors.InklingError) -> "Problem":
        """What an error is called here."""
        members = {name: value for name in ("limit", "job") if (value := getattr(error, name, None)) is not None}
        return Problem(NAMES[type(error)], str(error), **members)

    def content(self) -> dict[str, Any]:
        kind = PROBLEM_TYPES[self.name]
        return {
            "type": f"/problems/{self.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            **self.members,
        }

    def answer(self) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Status, headers and body."""
        status = PROBLEM_TYPES[self.name].status
        headers = {"Content-Type": _MEDIA_TYPE, **({"Retry-After": "1"} if status == 503 else {}), **self.headers}
        lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        return status, lines, to_json(self.content())

    def response(self) -> Response:
        status, headers, body = self.answer()
        response = Response(body, status)
        response.raw_headers += headers
        return response


def problem_of(request: Request, error: Exception) -> Problem:
    """What an error of any kind is called here."""
    match error:
        case Problem():
            return error
        case errors.InklingError():
            return Problem.of(error)
        case HTTPException():
            name = _STATUS_NAMES.get(error.status_code, "bad-request")
            return Problem(name, f"{request.method} {request.url.path}: {error.detail}", error.headers)
        case RequestValidationError():
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            return Problem("bad-parameter", f"{field}: {first['msg']}", field=field)
        case ClientDisconnect():
            return Problem("bad-request", "the client left before its body was complete")
        case _:
            return Problem("internal-error", "the error was logged; it is not the request's fault")


def respond(request: Request, error: Exception) -> Response:
    """The problem as an answer; app/observability/access_log.py finds its name in the request's state."""
    problem = problem_of(request, error)
    request.scope.setdefault("state", {})["problem"] = problem.name
    return problem.response()


def install(app: FastAPI) -> None:
    """Every error of the app leaves it as a problem."""
    for kind in (Problem, errors.InklingError, HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _respond)


async def _respond(request: Request, error: Exception) -> Response:
    return respond(request, error)
