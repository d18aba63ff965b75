"""GET /metrics: the workers' metrics (app/observability/metrics.py), and gauges of the whole service."""

from collections.abc import Iterator
from contextlib import suppress

from fastapi import APIRouter, Request, Response
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.api.dependencies import (
    FeedbackDependency,
    InferenceDependency,
    JobsDependency,
    RegistryDependency,
    ThreadsDependency,
)
from app.observability.metrics import Definition, metric
from app.storage.database import DatabaseUnavailable, StorageFull
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from app.storage.threads import StorageThreads
from models.contract import JobState
from models.errors import VersionError
from models.registry.registry import ModelRegistry

ACTIVE = Definition("inkling_active_version", "gauge", "The number of the active version: 3 for v3.")
JOBS = Definition("inkling_jobs", "gauge", "Retraining jobs.", ("state",))
FEEDBACK = Definition("inkling_feedback_images", "gauge", "Images that are kept as feedback.")
FEEDBACK_LIMIT = Definition("inkling_feedback_limit_images", "gauge", "INKLING_MAX_FEEDBACK.")
DATABASE = Definition("inkling_database_up", "gauge", "1 if the database answers, else 0.")
SERVICE_METRICS = (ACTIVE, JOBS, FEEDBACK, FEEDBACK_LIMIT, DATABASE)

router = APIRouter(include_in_schema=False)


@router.get("/metrics")
async def metrics(
    request: Request,
    inference: InferenceDependency,
    registry: RegistryDependency,
    jobs: JobsDependency,
    feedback: FeedbackDependency,
    threads: ThreadsDependency,
) -> Response:
    """In the format that the Accept header asks for: Prometheus' own, or OpenMetrics."""
    found = [*inference.metrics.collect(inference.state()), *await _service_metrics(registry, jobs, feedback, threads)]
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(_Collected(found)), headers={"Content-Type": content_type})


async def _service_metrics(
    registry: ModelRegistry, jobs: Jobs, feedback: FeedbackStore, threads: StorageThreads
) -> list[Metric]:
    database_up = True
    states: dict[JobState, int] = {}
    images: int | None = None
    version = None
    with suppress(VersionError):  # the workers keep their version
        version = int((await threads.active.run(registry.active)).removeprefix("v"))
    try:
        states, images = await threads.metrics.run(lambda: (jobs.count_by_state(), feedback.count()))
    except (DatabaseUnavailable, StorageFull):
        database_up = False
    return [
        metric(ACTIVE, {} if version is None else {(): [version]}),
        metric(JOBS, {(state,): [count] for state, count in states.items()}),
        metric(FEEDBACK, {} if images is None else {(): [images]}),
        metric(FEEDBACK_LIMIT, {(): [feedback.limit]}),
        metric(DATABASE, {(): [database_up]}),
    ]


class _Collected(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
