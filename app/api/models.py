"""GET /models, and activation."""

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.auth import NEEDS_KEY
from app.api.dependencies import RegistryDependency
from models.registry.manifest import Manifest, VersionState

router = APIRouter(prefix="/models", tags=["models"])


class VersionBody(BaseModel):
    """state: released; trained; accepted or rejected by the gate. metrics: on held-out data."""

    version: str
    network: str
    created_at: datetime
    parent: str | None
    state: VersionState
    metrics: dict[str, Any]


class VersionsBody(BaseModel):
    active: str | None
    versions: list[VersionBody]


@router.get("", summary="The saved versions, newest first, and which is active")
def listed(saved: RegistryDependency) -> VersionsBody:
    active, found = saved.list_versions()
    return VersionsBody(active=active, versions=[_body(name, manifest) for name, manifest in found.items()])


@router.get("/{version}", summary="One saved version")
def one(version: str, saved: RegistryDependency) -> VersionBody:
    return _body(version, saved.manifest(version))


@router.post("/{version}/activate", summary="Make it the version that answers", dependencies=NEEDS_KEY)
async def activate(version: str, saved: RegistryDependency) -> VersionBody:
    """Every worker serves it within two seconds. One that does not load is refused, and the old one stays."""
    await asyncio.to_thread(saved.activate, version)
    return _body(version, saved.manifest(version))


def _body(name: str, manifest: Manifest) -> VersionBody:
    return VersionBody(
        version=name,
        network=manifest.network,
        created_at=manifest.created_at,
        parent=manifest.parent,
        state=manifest.state,
        metrics=manifest.metrics,
    )
