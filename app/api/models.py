"""GET /models, GET /models/{version} and POST /models/{version}/activate."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.auth import NEEDS_KEY
from app.api.dependencies import RegistryDependency
from models.registry.manifest import Manifest, VersionState

router = APIRouter(prefix="/models", tags=["models"])


class VersionBody(BaseModel):
    """state: released, trained, or accepted or rejected by the gate. metrics: measured on held-out data."""

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
def list_versions(registry: RegistryDependency) -> VersionsBody:
    active, manifests = registry.list_versions()
    return VersionsBody(active=active, versions=[_body(name, manifest) for name, manifest in manifests.items()])


@router.get("/{version}", summary="One saved version")
def get_version(version: str, registry: RegistryDependency) -> VersionBody:
    return _body(version, registry.manifest(version))


@router.post("/{version}/activate", summary="Make a version the active one", dependencies=NEEDS_KEY)
def activate(version: str, registry: RegistryDependency) -> VersionBody:
    """Every worker serves it within two seconds. A version that does not load is refused, and the active one stays."""
    registry.activate(version)
    return _body(version, registry.manifest(version))


def _body(name: str, manifest: Manifest) -> VersionBody:
    return VersionBody(version=name, **dict(manifest))  # the manifest's other fields are ignored
