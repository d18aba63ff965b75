"""Builds the application from its parts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from app.api import feedback, health, metrics, models, predict, retrain, routing
from app.api.job_events import JobEvents
from app.api.keys import Keys, refreshing
from app.http import lifecycle, problems
from app.http.body_budget import BodyBudget
from app.http.fast_predict import FastPredict
from app.http.hosts import Hosts
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
from app.storage.threads import StorageThreads
from app.web import page, static_files
from models.contract import PROBLEM_TYPES
from models.registry.registry import ModelRegistry
from models.version import VERSION


class Inkling(FastAPI):
    """The application. `access_log` sees every request; `fast_predict` is the protocol's, None to switch it off."""

    access_log: AccessLog
    fast_predict: FastPredict | None
    body_budget: BodyBudget
    hosts: Hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            routing.strip_root_path(scope)
            await lifecycle.run(self._watched, scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.access_log.watch(self._identified, scope, receive, send)
        finally:
            self.body_budget.release(scope)

    async def _identified(self, scope: Scope, receive: Receive, send: Send) -> None:
        logs.identify(scope)
        await routing.run(self._hosted, scope, receive, send)

    async def _hosted(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self.hosts.find_problem(scope)
        if problem is None:
            await super().__call__(scope, receive, send)
        else:
            answer = await problems.respond(Request(scope), problem)
            await answer(scope, receive, send)


def create_app(
    settings: Settings,
    log_handler: LogHandler | None = None,
    metrics_store: MultiprocessStore | None = None,
    workers: int = 1,
    keys: Keys | None = None,
) -> Inkling:
    """The application. It loads and warms its model during start-up, before it takes the first request.

    log_handler: writes the access log; None writes none. metrics_store: shares metrics with the other workers; None for
    a single worker. workers: how many processes share this machine. keys: None reads them from the settings.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        inference.open()
        tasks = [
            asyncio.create_task(inference.watch_active_version()),
            asyncio.create_task(inference.publish_metrics()),
        ]
        try:
            with refreshing(app.state.keys, logged=False):  # the supervisor logs
                yield
        finally:
            for task in tasks:
                task.cancel()
            await inference.close()
            worker_metrics.publish(inference.state())
            threads.close()
            database.close()

    worker_metrics = Metrics(metrics_store, PROBLEM_TYPES)
    inference = Inference(settings, worker_metrics, workers)
    database = Database(settings)
    threads = StorageThreads()
    app = Inkling(
        title="Inkling",
        description="Reads handwritten digits, and says so when it is not sure.",
        version=VERSION,
        openapi_url=None,  # app/web/static_files.py serves the document
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.inference = inference
    app.state.registry = ModelRegistry(settings.home, settings.runtime)
    app.state.keys = Keys(settings) if keys is None else keys
    app.state.threads = threads
    app.state.jobs = Jobs(database, settings.home)
    app.state.job_events = JobEvents(app.state.jobs, threads)
    app.state.feedback = FeedbackStore(database, settings.max_feedback)
    app.access_log = AccessLog(worker_metrics, log_handler)
    app.hosts = Hosts(settings.allowed_hosts)
    app.fast_predict = FastPredict(inference, app.access_log, app.hosts)
    app.body_budget = BodyBudget(settings.max_upload_bytes)
    for module in (predict, health, feedback, retrain, models, metrics, page):
        app.include_router(module.router)
    static_files.install(app, settings.root_path)
    problems.install(app)
    routing.install(app, settings.root_path)
    return app
