"""The objects that routes take from the application's state, as FastAPI dependencies."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from app.api.job_events import JobEvents
from app.inference import Inference
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from app.storage.threads import StorageThreads
from models.registry.registry import ModelRegistry


def _from_state(name: str) -> Callable[[Request], Awaitable[Any]]:
    async def get(request: Request) -> Any:  # async: FastAPI runs a sync dependency in a thread
        return getattr(request.app.state, name)

    return get


InferenceDependency = Annotated[Inference, Depends(_from_state("inference"))]
RegistryDependency = Annotated[ModelRegistry, Depends(_from_state("registry"))]
FeedbackDependency = Annotated[FeedbackStore, Depends(_from_state("feedback"))]
JobsDependency = Annotated[Jobs, Depends(_from_state("jobs"))]
ThreadsDependency = Annotated[StorageThreads, Depends(_from_state("threads"))]
JobEventsDependency = Annotated[JobEvents, Depends(_from_state("job_events"))]
