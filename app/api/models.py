"""GET /models, GET /models/{version} and POST /models/{version}/activate."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.auth import NEEDS_KEY
from app.api.dependencies import RegistryDependency, ThreadsDependency
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
async def list_versions(registry: RegistryDependency, threads: ThreadsDependency) -> VersionsBody:
    def found() -> tuple[str | None, dict[str, Manifest]]:
        registry.check()
        return registry.list_versions()

    active, manifests = await threads.versions.run(found)
    return VersionsBody(active=active, versions=[_body(name, manifest) for name, manifest in manifests.items()])


@router.get("/{version}", summary="One saved version")
async def get_version(version: str, registry: RegistryDependency, threads: ThreadsDependency) -> VersionBody:
    def manifest() -> Manifest:
        registry.check()
        return registry.manifest(version)

    return _body(version, await threads.versions.run(manifest))


@router.post("/{version}/activate", summary="Make a version the active one", dependencies=NEEDS_KEY)
async def activate(version: str, registry: RegistryDependency, threads: ThreadsDependency) -> VersionBody:
    """Every worker serves it within two seconds. A version that does not load is refused, and the active one stays."""

    def activated() -> Manifest:
        registry.check()
        registry.activate(version)
        return registry.manifest(version)

    return _body(version, await threads.activations.run(activated))


def _body(name: str, manifest: Manifest) -> VersionBody:
    return VersionBody(version=name, **dict(manifest))  # the manifest's other fields are ignored
