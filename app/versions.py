"""GET /models, and activation."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from app.keys import NEEDS_KEY
from models.errors import VersionError
from models.versions import State, Versions

router = APIRouter(prefix="/models", tags=["models"])


class VersionBody(BaseModel):
    """state: released; trained; accepted or rejected by the gate. metrics: on held-out data."""

    version: str
    network: str
    created_at: datetime
    parent: str | None
    state: State
    metrics: dict[str, Any]


class VersionsBody(BaseModel):
    active: str | None
    versions: list[VersionBody]


def versions_of(request: Request) -> Versions:
    return Versions(request.app.state.service.settings.home)


Saved = Annotated[Versions, Depends(versions_of)]


@router.get("", summary="The saved versions, newest first, and which is active")
def listed(saved: Saved) -> VersionsBody:
    return describe(saved)


@router.get("/{version}", summary="One saved version")
def one(version: str, saved: Saved) -> VersionBody:
    return _body(saved, version)


@router.post("/{version}/activate", summary="Make it the version that answers", dependencies=NEEDS_KEY)
async def activate(version: str, saved: Saved) -> VersionBody:
    """Every worker serves it within two seconds. One that does not load is refused, and the old one stays."""
    await asyncio.to_thread(saved.activate, version)
    return _body(saved, version)


def describe(saved: Versions) -> VersionsBody:
    """What is under HOME; a version whose manifest can not be read is left out."""
    found = []
    for name in reversed(saved.names()):
        try:
            found.append(_body(saved, name))
        except VersionError:  # also one that was pruned since
            continue
    try:
        return VersionsBody(active=saved.active(), versions=found)
    except VersionError:
        return VersionsBody(active=None, versions=found)


def _body(saved: Versions, name: str) -> VersionBody:
    manifest = saved.manifest(name)
    return VersionBody(
        version=name,
        network=manifest.network,
        created_at=manifest.created_at,
        parent=manifest.parent,
        state=manifest.state,
        metrics=manifest.metrics,
    )
