"""The retraining routes: start a job, list jobs, follow one, cancel one."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field, ValidationError

from app.api.auth import NEEDS_KEY, holds_key
from app.api.dependencies import (
    InferenceDependency,
    JobEventsDependency,
    JobsDependency,
    RegistryDependency,
    ThreadsDependency,
)
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
    "requestBody": {"required": False, "content": {"application/json": {"schema": JobParameters.model_json_schema()}}}
}


@router.post("", summary="Train a better version", status_code=202, dependencies=NEEDS_KEY, openapi_extra=_BODY)
async def submit(
    request: Request,
    response: Response,
    inference: InferenceDependency,
    jobs: JobsDependency,
    registry: RegistryDependency,
    threads: ThreadsDependency,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> JobStatus:
    """Answers at once; a separate process trains. The same Idempotency-Key within 24 hours gives the same job."""
    parameters = _parameters(await body.read_body(request.scope, request.receive, MAX_BODY))
    if not inference.settings.run_jobs:
        raise Problem("no-job-host", "nothing retrains here: INKLING_RUN_JOBS is false")
    if parameters.network is not None and parameters.start_from == "current":
        active = await threads.versions.run(lambda: registry.manifest(registry.active()).network)
        if active != parameters.network:
            detail = f"network: the active version is a {active}; a {parameters.network} needs start_from: scratch"
            raise Problem("bad-parameter", detail, field="network")
    job = await threads.writes.run(jobs.submit, parameters.model_dump(), idempotency_key)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/retrain/{job.id}"
    return JobStatus.model_validate(job)


@router.get("", summary="The jobs, newest first")
async def list_jobs(jobs: JobsDependency, threads: ThreadsDependency) -> JobsBody:
    return JobsBody(jobs=[JobStatus.model_validate(job) for job in await threads.reads.run(jobs.list_newest)])


@router.get("/{id}", summary="One job", response_model_exclude_unset=True)
async def get_job(
    id: str,  # noqa: A002 the path parameter's name
    request: Request,
    jobs: JobsDependency,
    threads: ThreadsDependency,
) -> LoggedJobStatus:
    job = await threads.reads.run(jobs.get, id)
    status = JobStatus.model_validate(job)
    return LoggedJobStatus(**dict(status), **({"log": job.log} if holds_key(request) else {}))


@router.delete("/{id}", summary="Cancel a job", status_code=202, dependencies=NEEDS_KEY)
async def cancel(
    id: str,  # noqa: A002 the path parameter's name
    jobs: JobsDependency,
    threads: ThreadsDependency,
) -> JobStatus:
    return JobStatus.model_validate(await threads.writes.run(jobs.cancel, id))


async def _changes(
    id: str,  # noqa: A002 the path parameter's name
    jobs: JobsDependency,
    job_events: JobEventsDependency,
    threads: ThreadsDependency,
) -> AsyncIterator[AsyncIterator[JobStatus]]:
    """A dependency, because an error in the route itself would come after the 200 of the stream."""
    status = JobStatus.model_validate(await threads.reads.run(jobs.get, id))
    with job_events.follow(status) as changes:
        yield changes


@router.get(
    "/{id}/events", summary="Follow a job by server-sent events until it ends", response_class=EventSourceResponse
)
async def events(changes: Annotated[AsyncIterator[JobStatus], Depends(_changes)]) -> AsyncIterator[ServerSentEvent]:
    """Sends `event: job` at once and after each change; the last event has the final state."""
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
