"""Puts the service together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.api import feedback, health, metrics, models, predict, retrain
from app.api.job_events import JobEvents
from app.http import lifecycle, problems
from app.http.fast_predict import FastPredict
from app.inference import Inference
from app.observability import logs
from app.observability.access_log import AccessLog
from app.observability.logs import LogHandler
from app.observability.metrics import Metrics
from app.observability.multiprocess import MultiprocessStore
from app.settings import Settings
from app.storage.database import Database
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from app.web import page, static_files
from models.contract import PROBLEM_TYPES
from models.version import VERSION


class Inkling(FastAPI):
    """The application. `access_log` sees every request; `fast_predict` is the protocol's, None to switch it off."""

    access_log: AccessLog
    fast_predict: FastPredict | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await lifecycle.run(self._watched, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.access_log.watch(self._identified, scope, receive, send)

    async def _identified(self, scope: Scope, receive: Receive, send: Send) -> None:
        logs.identify(scope)
        await super().__call__(scope, receive, send)


def create_app(
    settings: Settings, lines: LogHandler | None = None, board: MultiprocessStore | None = None, workers: int = 1
) -> Inkling:
    """The application. It loads and warms its model during start-up, before it takes the first request.

    lines: where requests are logged, None for nowhere; board: where the workers of a service meet, None for a lone one;
    workers: how many there are.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        inference.open()
        tasks = [
            asyncio.create_task(inference.watch_active_version()),
            asyncio.create_task(inference.publish_metrics()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await inference.close()
            worker_metrics.publish(inference.state())
            database.close()

    worker_metrics = Metrics(board, PROBLEM_TYPES)
    inference = Inference(settings, worker_metrics, workers)
    database = Database(settings)
    app = Inkling(
        title="Inkling",
        description="Reads handwritten digits, and says so when it is not sure.",
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.inference = inference
    app.state.key = settings.key()
    app.state.jobs = Jobs(database)
    app.state.job_events = JobEvents(app.state.jobs)
    app.state.feedback = FeedbackStore(database, settings.max_feedback)
    app.access_log = AccessLog(worker_metrics, lines)
    app.fast_predict = FastPredict(inference, app.access_log)
    app.include_router(predict.router)
    app.include_router(health.router)
    app.include_router(feedback.router)
    app.include_router(retrain.router)
    app.include_router(models.router)
    app.include_router(metrics.router)
    app.include_router(page.router)
    static_files.install(app)
    problems.install(app)
    return app
