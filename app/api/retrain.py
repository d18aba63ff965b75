"""POST /retrain, and what becomes of the job."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.api.auth import NEEDS_KEY, holds_key
from app.api.dependencies import JobsDependency, RegistryDependency
from app.http import body
from app.http.problems import Problem
from app.storage.jobs import Job
from models.contract import JobState

MAX_BODY = 64 * 1024
LOOK_SECONDS = 0.5

router = APIRouter(prefix="/retrain", tags=["retrain"])


class Parameters(BaseModel):
    """What to train; everything may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    network: Literal["net", "sequential", "convnet"] | None = Field(
        None, description="The active version's if not given; another one can only start from scratch."
    )
    epochs: int | None = Field(None, ge=1, le=1000, description="Passes over MNIST.")
    start_from: Literal["current", "scratch"] = Field("current", description="Fine-tune the active version, or not.")
    use_feedback: bool = Field(True, description="Whether to train on the corrections, too.")
    seed: int = Field(0, ge=0, le=2**63 - 1)
    learning_rate: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    activate: Literal["auto", "manual"] = Field(
        "auto", description="Whether a version that passes the gate takes over at once, or waits for a person."
    )


class JobBody(BaseModel):
    id: str
    state: JobState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epoch: int | None
    epochs: int | None
    progress: float = Field(ge=0, le=1)
    metrics: dict[str, Any]
    reason: str | None = Field(description="Why it ended as it did.")
    version: str | None = Field(description="The version that it saved, also a rejected one.")


class LoggedJobBody(JobBody):
    log: str | None = Field(None, description="The trainer's last lines; only with the key.")


class JobsBody(BaseModel):
    jobs: list[JobBody]


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": False,
        "content": {"application/json": {"schema": Parameters.model_json_schema()}},
    }
}


@router.post("", summary="Train a better version", status_code=202, dependencies=NEEDS_KEY, openapi_extra=_BODY)
async def submit(
    request: Request,
    response: Response,
    store: JobsDependency,
    saved: RegistryDependency,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> JobBody:
    """Answers at once; a process of its own trains. The same Idempotency-Key within 24 hours gives the same job."""
    parameters = _parameters(await body.read_body(request.scope, request.receive, MAX_BODY))
    if parameters.network is not None and parameters.start_from == "current":
        active = await asyncio.to_thread(lambda: saved.manifest(saved.active()).network)
        if active != parameters.network:
            detail = f"network: the active version is a {active}; a {parameters.network} needs start_from: scratch"
            raise Problem("bad-parameter", detail, field="network")
    job = await asyncio.to_thread(store.submit, parameters.model_dump(), idempotency_key)
    response.headers["Location"] = f"{request.scope.get('root_path', '')}/retrain/{job.id}"
    return JobBody(**_fields(job))


@router.get("", summary="The jobs, newest first")
def listed(store: JobsDependency) -> JobsBody:
    return JobsBody(jobs=[JobBody(**_fields(job)) for job in store.newest()])


@router.get("/{id}", summary="One job", response_model_exclude_unset=True)
def one(id: str, request: Request, store: JobsDependency) -> LoggedJobBody:  # noqa: A002 the path's own name
    job = store.get(id)
    body = LoggedJobBody(**_fields(job))
    if holds_key(request):
        body.log = job.log
    return body


@router.delete("/{id}", summary="Cancel a job", status_code=202, dependencies=NEEDS_KEY)
def cancel(id: str, store: JobsDependency) -> JobBody:  # noqa: A002 the path's own name
    return JobBody(**_fields(store.cancel(id)))


async def _known(id: str, store: JobsDependency) -> Job:  # noqa: A002 the path's own name
    return await asyncio.to_thread(store.get, id)  # an unknown job is a problem, not an empty stream


@router.get("/{id}/events", summary="One job as server-sent events, until it ends", response_class=EventSourceResponse)
async def events(job: Annotated[Job, Depends(_known)], store: JobsDependency) -> AsyncIterator[ServerSentEvent]:
    """`event: job`: one at once, one whenever something changed, the last one with the last state."""
    sent = None
    while True:
        body = JobBody(**_fields(job))
        if body != sent:
            yield ServerSentEvent(event="job", data=body)
            sent = body
        if job.ended:
            return
        await asyncio.sleep(LOOK_SECONDS)
        job = await asyncio.to_thread(store.get, job.id)


def _parameters(body: bytes) -> Parameters:
    try:
        return Parameters.model_validate_json(body.strip() or b"{}")
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "body"
        known = f"; known are {', '.join(Parameters.model_fields)}" if first["type"] == "extra_forbidden" else ""
        raise Problem("bad-parameter", f"{field}: {first['msg']}{known}", field=field) from None


def _fields(job: Job) -> dict[str, Any]:
    return {name: getattr(job, name) for name in JobBody.model_fields}
