"""Lists the versions and reads their manifests; registry.py loads, writes and activates them."""

import re
from contextlib import AbstractContextManager
from pathlib import Path

from models import fs
from models.errors import BrokenVersion, StoreUnavailable, UnknownVersion, VersionError
from models.registry.manifest import Manifest, read_manifest

_NAME = re.compile(r"v[1-9]\d*")
_MAX_ACTIVE_BYTES = 64


class ModelRegistryReader:
    """The versions under one HOME, read from disk at every call. Several processes may use the same HOME."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self.active_file = self.folder / "active"

    def names(self) -> list[str]:
        """Oldest first. Raises StoreUnavailable."""
        try:
            found = [entry.name for entry in self.folder.iterdir() if entry.is_dir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreUnavailable(f"{self.folder} cannot be read: {error.strerror}") from error
        return sorted(filter(_NAME.fullmatch, found), key=lambda name: int(name[1:]))

    def active(self) -> str:
        """The active version's name. Raises UnknownVersion if none was ever activated, BrokenVersion for nonsense."""
        try:
            name = fs.read_regular(self.active_file, _MAX_ACTIVE_BYTES).decode("ascii", "replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise UnknownVersion(f"no version is active under {self.folder}") from None
        except OSError as error:
            raise BrokenVersion(f"{self.active_file} cannot be read: {error.strerror}") from error
        names = self.names()
        if name not in names:
            known = ", ".join(names) or "none"
            raise BrokenVersion(f"{self.active_file} names {name[:20]!r}, which is not a version; there are {known}")
        return name

    def manifest(self, name: str) -> Manifest:
        """Raises UnknownVersion or BrokenVersion."""
        return read_manifest(self._path(name))

    def check(self) -> None:
        """Raises StoreUnavailable where there are no versions: a service that runs on them has lost its HOME."""
        if not self.names():
            raise StoreUnavailable(f"{self.folder} holds no version any more; is its disk mounted?")

    def list_versions(self) -> tuple[str | None, dict[str, Manifest]]:
        """The active version's name or None, and the manifests that can be read, by name, newest first."""
        found = {}
        for name in reversed(self.names()):
            try:
                found[name] = self.manifest(name)
            except VersionError:  # also a version that was pruned since
                continue
        try:
            return self.active(), found
        except VersionError:
            return None, found

    def locked(self) -> AbstractContextManager[None]:
        """The lock under which a process seeds, activates, prunes or backs up. Raises HomeError."""
        return fs.locked(self.folder / ".lock")

    def _path(self, name: str) -> Path:
        names = self.names()
        if name not in names:
            raise UnknownVersion(f"there is no version {name!r}; there are {', '.join(names) or 'none'}")
        return self.folder / name
