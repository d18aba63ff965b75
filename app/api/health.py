"""GET /health and the two probes below it."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.dependencies import InferenceDependency

router = APIRouter(prefix="/health", tags=["health"])


class HealthBody(BaseModel):
    status: Literal["ok"] = "ok"
    model: str
    device: str
    runtime: str
    uptime_seconds: float


class LiveBody(BaseModel):
    status: Literal["live"] = "live"


@router.get("", summary="Whether the service can predict, and with what")
async def health(inference: InferenceDependency) -> HealthBody:
    found = await inference.health()
    return HealthBody(
        model=found.model, device=found.device, runtime=found.runtime, uptime_seconds=found.uptime_seconds
    )


@router.get("/ready", summary="For probes: a model is loaded, warm, and its device answers")
async def ready(inference: InferenceDependency) -> HealthBody:
    return await health(inference)


@router.get("/live", summary="For probes: the process runs; does not depend on load")
async def live() -> LiveBody:
    return LiveBody()
