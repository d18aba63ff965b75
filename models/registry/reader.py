"""Which versions there are, told from their manifests alone: without torch, which takes seconds to import."""

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from models.errors import BrokenVersion, UnknownVersion, VersionError
from models.inference.calibration import Calibration

MANIFEST = "manifest.json"

_NAME = re.compile(r"v[1-9]\d*")

VersionState = Literal["released", "trained", "accepted", "rejected"]
"""Where a version comes from; of retrained ones, whether the gate let them pass."""


class Manifest(BaseModel):
    network: str
    state: VersionState = "trained"
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    parent: str | None = None
    metrics: dict[str, Any] = {}
    calibration: Calibration = Calibration()
    sha256: str = ""
    training: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    libraries: dict[str, str] = {}


class ModelRegistryReader:
    """The versions under one HOME, as they lie there. Several processes may use the same HOME at a time."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self._active = self.folder / "active"

    def names(self) -> list[str]:
        """Oldest first."""
        if not self.folder.is_dir():
            return []
        found = (entry.name for entry in self.folder.iterdir() if entry.is_dir())
        return sorted(filter(_NAME.fullmatch, found), key=lambda name: int(name[1:]))

    def active(self) -> str:
        """The active version's name. Raises UnknownVersion when none was ever activated, BrokenVersion for nonsense."""
        try:
            name = self._active.read_bytes().decode("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownVersion(f"no version is active under {self.folder}") from None
        except OSError as error:
            raise BrokenVersion(f"{self._active} can not be read: {error.strerror}") from error
        if name not in self.names():
            known = ", ".join(self.names()) or "none"
            raise BrokenVersion(f"{self._active} names {name[:20]!r}, which is no version; there are {known}")
        return name

    def manifest(self, name: str) -> Manifest:
        """Raises UnknownVersion or BrokenVersion."""
        return read_manifest(self._path(name))

    def list_versions(self) -> tuple[str | None, dict[str, Manifest]]:
        """The active version's name, if one is, and the manifests by name, newest first, of those that can be read."""
        found = {}
        for name in reversed(self.names()):
            try:
                found[name] = self.manifest(name)
            except VersionError:  # also one that was pruned since
                continue
        try:
            return self.active(), found
        except VersionError:
            return None, found

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time seeds, activates or prunes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, name: str) -> Path:
        if name not in self.names():
            raise UnknownVersion(f"there is no version {name!r}; there are {', '.join(self.names()) or 'none'}")
        return self.folder / name


def read_manifest(folder: Path) -> Manifest:
    """Raises BrokenVersion."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BrokenVersion(f"{path} can not be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BrokenVersion(f"{path} is not a manifest: {where}: {first['msg']}") from error
