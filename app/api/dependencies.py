"""What the routes need of the application's state. The functions are async: FastAPI runs sync ones in a thread."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.job_events import JobEvents
from app.inference import Inference
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from models.registry.registry import ModelRegistry


async def get_inference(request: Request) -> Inference:
    inference: Inference = request.app.state.inference
    return inference


async def get_registry(request: Request) -> ModelRegistry:
    return ModelRegistry(request.app.state.inference.settings.home)


async def get_feedback_store(request: Request) -> FeedbackStore:
    feedback: FeedbackStore = request.app.state.feedback
    return feedback


async def get_jobs(request: Request) -> Jobs:
    jobs: Jobs = request.app.state.jobs
    return jobs


async def get_job_events(request: Request) -> JobEvents:
    job_events: JobEvents = request.app.state.job_events
    return job_events


InferenceDependency = Annotated[Inference, Depends(get_inference)]
RegistryDependency = Annotated[ModelRegistry, Depends(get_registry)]
FeedbackDependency = Annotated[FeedbackStore, Depends(get_feedback_store)]
JobsDependency = Annotated[Jobs, Depends(get_jobs)]
JobEventsDependency = Annotated[JobEvents, Depends(get_job_events)]
