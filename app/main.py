"""Puts the service together."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app import docs, feedback, health, page, predictions, problems, retraining, versions
from app.corrections import Corrections
from app.database import Database
from app.jobs import Jobs
from app.service import Service
from app.settings import Settings

VERSION = "0.1.0"


class Inkling(FastAPI):
    """FastAPI, but for the calls that are answered without it: `lean`, by path."""

    lean: Mapping[str, ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.lean.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        await (app or super().__call__)(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application. Its model is loaded and warmed during start-up, before the first request is taken."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.open()
        following = asyncio.create_task(service.follow())
        try:
            yield
        finally:
            following.cancel()
            await service.close()
            database.close()

    service = Service(settings)
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
    app.state.service = service
    app.state.key = settings.key()
    app.state.jobs = Jobs(database)
    app.state.corrections = Corrections(settings.home, database, settings.feedback_limit)
    app.lean = {
        f"{settings.root_path}/predict": predictions.Lean(service, predictions.predict),
        f"{settings.root_path}/predict/batch": predictions.Lean(service, predictions.predict_batch),
    }
    app.include_router(predictions.router)
    app.include_router(health.router)
    app.include_router(feedback.router)
    app.include_router(retraining.router)
    app.include_router(versions.router)
    page.install(app)
    docs.install(app)
    problems.install(app)
    return app
