"""POST /retrain, and what becomes of the job."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field, ValidationError

from app.api.auth import NEEDS_KEY, holds_key
from app.api.dependencies import JobEventsDependency, JobsDependency, RegistryDependency
from app.http import body
from app.http.problems import Problem
from models.contract import JobParameters, JobStatus

MAX_BODY = 64 * 1024

router = APIRouter(prefix="/retrain", tags=["retrain"])


class LoggedJobStatus(JobStatus):
    log: str | None = Field(None, description="The trainer's last lines; only with the key.")


class JobsBody(BaseModel):
    jobs: list[JobStatus]


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": JobParameters.model_json_schema()}},
    }
}


@router.post("", summary="Train a better version", status_code=202, dependencies=NEEDS_KEY, openapi_extra=_BODY)
async def submit(
    request: Request,
    response: Response,
    store: JobsDependency,
    saved: RegistryDependency,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> JobStatus:
    """Answers at once; a process of its own trains. The same Idempotency-Key within 24 hours gives the same job."""
    parameters = _parameters(await body.read_body(request.scope, request.receive, MAX_BODY))
    if parameters.network is not None and parameters.start_from == "current":
        active = await asyncio.to_thread(lambda: saved.manifest(saved.active()).network)
        if active != parameters.network:
            detail = f"network: the active version is a {active}; a {parameters.network} needs start_from: scratch"
            raise Problem("bad-parameter", detail, field="network")
    job = await asyncio.to_thread(store.submit, parameters.model_dump(), idempotency_key)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/retrain/{job.id}"
    return JobStatus.model_validate(job)


@router.get("", summary="The jobs, newest first")
def listed(store: JobsDependency) -> JobsBody:
    return JobsBody(jobs=[JobStatus.model_validate(job) for job in store.list_newest()])


@router.get("/{id}", summary="One job", response_model_exclude_unset=True)
def one(id: str, request: Request, store: JobsDependency) -> LoggedJobStatus:  # noqa: A002 the path's own name
    job = store.get(id)
    status = JobStatus.model_validate(job)
    return LoggedJobStatus(**dict(status), **({"log": job.log} if holds_key(request) else {}))


@router.delete("/{id}", summary="Cancel a job", status_code=202, dependencies=NEEDS_KEY)
def cancel(id: str, store: JobsDependency) -> JobStatus:  # noqa: A002 the path's own name
    return JobStatus.model_validate(store.cancel(id))


async def _changes(
    id: str,  # noqa: A002 the path's own name
    store: JobsDependency,
    job_events: JobEventsDependency,
) -> AsyncIterator[AsyncIterator[JobStatus]]:
    """A dependency, so that an unknown job or a stream too many is a problem and not an empty stream."""
    status = JobStatus.model_validate(await asyncio.to_thread(store.get, id))
    with job_events.follow(status) as changes:
        yield changes


@router.get("/{id}/events", summary="One job as server-sent events, until it ends", response_class=EventSourceResponse)
async def events(changes: Annotated[AsyncIterator[JobStatus], Depends(_changes)]) -> AsyncIterator[ServerSentEvent]:
    """`event: job`: one at once, one whenever something changed, the last one with the last state."""
    async for status in changes:
        yield ServerSentEvent(event="job", data=status)


def _parameters(body: bytes) -> JobParameters:
    try:
        return JobParameters.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "body"
        known = f"; known are {', '.join(JobParameters.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise Problem("bad-parameter", f"{field}: {first['msg']}{known}", field=field) from None
