"""Puts the service together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import docs, feedback, health, predictions, problems, retraining, versions
from app.corrections import Corrections
from app.database import Database
from app.jobs import Jobs
from app.service import Service
from app.settings import Settings

VERSION = "0.1.0"


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
            service.close()
            database.close()

    service = Service(settings)
    database = Database(settings)
    app = FastAPI(
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
    app.include_router(predictions.router)
    app.include_router(health.router)
    app.include_router(feedback.router)
    app.include_router(retraining.router)
    app.include_router(versions.router)
    docs.install(app)
    problems.install(app)
    return app
