"""GET /metrics: what app/observability/metrics.py counts, and how the rest of the service stands at the moment."""

import asyncio
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.api.dependencies import FeedbackDependency, InferenceDependency, JobsDependency, RegistryDependency
from app.observability.metrics import Definition, metric
from app.storage.database import DatabaseUnavailable
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from models.contract import JobState
from models.errors import VersionError
from models.registry.registry import ModelRegistry

DATABASE_WAIT_SECONDS = 2
"""How long the database may take: Prometheus itself waits for ten seconds."""

ACTIVE = Definition("inkling_active_version", "gauge", "The number of the version that is to be served: 3 of v3.")
JOBS = Definition("inkling_jobs", "gauge", "Retraining jobs.", ("state",))
FEEDBACK = Definition("inkling_feedback_images", "gauge", "FeedbackStore that are kept.")
FEEDBACK_LIMIT = Definition("inkling_feedback_limit_images", "gauge", "INKLING_MAX_FEEDBACK.")
DATABASE = Definition("inkling_database_up", "gauge", "1 when the database answers, 0 when it does not.")
OF_SERVICE = (ACTIVE, JOBS, FEEDBACK, FEEDBACK_LIMIT, DATABASE)

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(
    request: Request,
    inference: InferenceDependency,
    saved: RegistryDependency,
    jobs: JobsDependency,
    corrections: FeedbackDependency,
) -> Response:
    """In the format that is asked for, Prometheus' own or OpenMetrics."""
    found = [*inference.metrics.collect(inference.state()), *await _of_service(saved, jobs, corrections)]
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(_Found(found)), headers={"Content-Type": content_type})


async def _of_service(saved: ModelRegistry, jobs: Jobs, corrections: FeedbackStore) -> list[Metric]:
    version = await asyncio.to_thread(_active, saved)
    answers = True
    states: dict[JobState, int] = {}
    images: int | None = None
    try:
        async with asyncio.timeout(DATABASE_WAIT_SECONDS):
            states, images = await asyncio.to_thread(lambda: (jobs.count_by_state(), corrections.count()))
    except (DatabaseUnavailable, TimeoutError):
        answers = False
    return [
        metric(ACTIVE, {} if version is None else {(): [version]}),
        metric(JOBS, {(state,): [count] for state, count in states.items()}),
        metric(FEEDBACK, {} if images is None else {(): [images]}),
        metric(FEEDBACK_LIMIT, {(): [corrections.limit]}),
        metric(DATABASE, {(): [answers]}),
    ]


def _active(saved: ModelRegistry) -> int | None:
    try:
        return int(saved.active().removeprefix("v"))
    except VersionError:  # the workers go on with what they have
        return None


class _Found(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
