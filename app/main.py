"""Puts the service together."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import feedback, health, metrics, models, predict, retrain
from app.http import problems
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
from app.web import docs, page
from models.contract import PROBLEM_TYPES

VERSION = "0.1.0"


class Inkling(FastAPI):
    """FastAPI, but for the calls that are answered without it: `lean`, by path. `access` watches them all."""

    lean: Mapping[str, ASGIApp]
    access_log: AccessLog
    fast_predict: FastPredict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        lean = self.lean.get(scope["path"]) if scope["method"] == "POST" else None
        await self.access_log.watch(lean or self._full, scope, receive, send)

    async def _full(self, scope: Scope, receive: Receive, send: Send) -> None:
        logs.identify(scope)
        await super().__call__(scope, receive, send)


def create_app(settings: Settings, lines: LogHandler | None = None, board: MultiprocessStore | None = None) -> Inkling:
    """The ASGI application. Its model is loaded and warmed during start-up, before the first request is taken.

    lines: where requests are logged, None for nowhere; board: where the workers of a service meet, None for a lone one.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        inference.open()
        tasks = [asyncio.create_task(inference.follow()), asyncio.create_task(inference.show())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await inference.close()
            worker_metrics.publish(inference.state())
            database.close()

    worker_metrics = Metrics(board, PROBLEM_TYPES)
    inference = Inference(settings, worker_metrics)
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
    app.state.feedback = FeedbackStore(settings.home, database, settings.max_feedback)
    app.access_log = AccessLog(worker_metrics, lines)
    app.fast_predict = FastPredict(inference, app.access_log)
    calls = {"/predict": predict.predict, "/predict/batch": predict.predict_batch}
    app.lean = {settings.root_path + path: predict.Lean(path, inference, call) for path, call in calls.items()}
    app.include_router(predict.router)
    app.include_router(health.router)
    app.include_router(feedback.router)
    app.include_router(retrain.router)
    app.include_router(models.router)
    app.include_router(metrics.router)
    page.install(app)
    docs.install(app)
    problems.install(app)
    return app
