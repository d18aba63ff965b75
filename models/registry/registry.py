"""Versions on disk: a folder for each, and one small file that names the active version.

    HOME/models/v1/weights.pt      a plain state_dict of CPU tensors
    HOME/models/v1/model.onnx      the same network, compiled for CPUs; an older version has none
    HOME/models/v1/manifest.json   what the version is, how it was made, how good it is
    HOME/models/active             "v1"; replaced atomically, so a reader sees the old name or the new one

A version appears whole or not at all: its files are written to a hidden folder, flushed to disk, and the folder is
renamed.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from models import fs
from models.errors import BrokenVersion, HomeError, UnknownVersion
from models.inference import runtimes
from models.inference.predictor import Predictor
from models.inference.runtimes import Runtime
from models.registry.compiled_cache import CompiledCache
from models.registry.manifest import Manifest, read_manifest
from models.registry.reader import ModelRegistryReader
from models.registry.version_files import Version, encode, read, write_files

if TYPE_CHECKING:
    from torch import Tensor

RELEASED = Path(__file__).parents[1] / "released"

_LEFTOVER_SECONDS = 3600

log = logging.getLogger(__name__)


def find(home: Path, name: str | None = None, released: str = "convnet") -> Version:
    """The version under HOME, or the released model, of that name.

    Without a name it is the active version; without an active version it is the released model called `released`.
    Raises UnknownVersion or BrokenVersion.
    """
    registry = ModelRegistry(home)
    if name in {folder.name for folder in RELEASED.iterdir()}:
        return read(RELEASED / name)
    try:
        name = name or registry.active()
    except UnknownVersion:
        return read(RELEASED / released)
    return registry.load(name)


def _completed_by_release(version: Version) -> Version:
    """A copy of a released model, from before releases were compiled, gets the compiled model of the release."""
    names = {folder.name for folder in RELEASED.iterdir()}
    if version.compiled is None and version.manifest.network in names:
        release = read(RELEASED / version.manifest.network)
        if release.manifest.sha256 == version.manifest.sha256:
            manifest = version.manifest.model_copy(update={"compiled": release.manifest.compiled})
            return replace(version, manifest=manifest, compiled=release.compiled)
    return version


class ModelRegistry(ModelRegistryReader):
    """Loads, writes, activates and prunes the versions under one HOME. runtime: what runs them on a CPU."""

    def __init__(self, home: Path, runtime: Runtime = "auto") -> None:
        super().__init__(home)
        self._runtime = runtime
        self._cache = CompiledCache(home / "compiled")

    def load(self, name: str) -> Version:
        """A version; one that brings no compiled model has its release's or the cache's, if they have one.

        Raises UnknownVersion or BrokenVersion.
        """
        return self._cache.complete(_completed_by_release(read(self._path(name))))

    def predictor(self, name: str, device: str = "cpu") -> Predictor:
        """A version's predictor, for which it is compiled if need be: in a process of its own, for seconds.

        Raises UnknownVersion, BrokenVersion, DeviceError or HomeError.
        """
        version = self.load(name)
        if runtimes.resolve(self._runtime, device) == "onnxruntime" and version.compiled is None:
            try:
                version = self._cache.compile(version, self._path(name))
            except (BrokenVersion, HomeError) as error:
                if self._runtime == "onnxruntime" or not runtimes.is_installed("torch"):
                    raise
                log.warning("%s; torch runs it", error)
        return version.predictor(device, self._runtime)

    def write(self, state_dict: "Mapping[str, Tensor]", manifest: Manifest, compiled: bytes | None = None) -> str:
        """Saves the next version and returns its name; does not activate it. Raises HomeError.

        compiled: the content of `model.onnx`, which manifest.compiled describes. The checksums need not be in the
        manifest yet.
        """
        return self._add(encode(state_dict, manifest, compiled))

    def activate(self, name: str) -> None:
        """Makes a version the active one if it loads and passes the parity check; otherwise the active one stays.

        Raises UnknownVersion, BrokenVersion or HomeError.
        """
        self.predictor(name)
        with self.locked():
            self._set_active(name)

    def prune(self, keep: int) -> list[str]:
        """Removes all versions but the newest `keep`, the active one and its parent, and returns their names.

        It also removes temporary files that killed processes left behind. Raises VersionError or HomeError.
        """
        with self.locked(), fs.home_errors(self.folder):
            names, active = self.names(), self.active()
            kept = {active, self.manifest(active).parent, *names[-keep:]}
            removed = [name for name in names if name not in kept]
            for name in removed:
                hidden = Path(tempfile.mkdtemp(prefix=".removed-", dir=self.folder))
                (self.folder / name).rename(hidden / name)  # in one step, so that nobody sees half a version
                shutil.rmtree(hidden, ignore_errors=True)
            weights = {manifest.sha256 for manifest in self.list_versions()[1].values()}
        with fs.home_errors(self._cache.folder):  # outside the lock: the cache has its own while it compiles
            self._cache.prune(weights)
        self._sweep()
        return removed

    def _activate(self, name: str) -> None:
        self.predictor(name)
        self._set_active(name)

    def _set_active(self, name: str) -> None:
        self._path(name)  # raises UnknownVersion if it was pruned since
        fs.write_atomically(self.active_file, f"{name}\n".encode())

    def seed(self, model: str) -> None:
        """Brings a HOME up to date with the released models and logs what it did. Raises HomeError or BrokenVersion.

        A new HOME gets the released model as v1. A newer release becomes the next version, and the active one if the
        active version is the same released model and was not retrained.
        """
        fs.check_writable(self.folder)
        with self.locked():  # several services may start on one HOME at once
            self._seed(model)

    def _seed(self, model: str) -> None:
        try:
            active = self.manifest(self.active())
        except UnknownVersion:
            name = self._copy_release(model)
            self._activate(name)
            log.info("%s is the released %s", name, model)
            return
        manifests = []
        for name in self.names():
            try:
                manifests.append(self.manifest(name))
            except BrokenVersion as error:
                log.warning("%s is left alone: %s", name, error)
        for network in sorted({manifest.network for manifest in manifests if manifest.state == "released"}):
            if not (RELEASED / network).is_dir():  # written by `inkling train --output`
                continue
            if read_manifest(RELEASED / network).sha256 in {manifest.sha256 for manifest in manifests}:
                continue
            name = self._copy_release(network)
            if active.state != "released" or active.network != network:
                log.info("%s is a newer release of %s; %s stays active", name, network, self.active())
            else:
                self._activate(name)
                log.info("%s is a newer release of %s, now active", name, network)
        if active.network != model and active.state == "released":
            log.warning(
                "INKLING_INITIAL_MODEL=%s only starts a new HOME; this one goes on with %s", model, active.network
            )

    def _sweep(self) -> None:
        for path in (path for kind in ("v", "removed-", "active-") for path in self.folder.glob(f".{kind}*")):
            with suppress(OSError):  # another process may remove it first
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _copy_release(self, model: str) -> str:
        read(RELEASED / model)  # a broken release is not copied
        return self._add({path.name: path.read_bytes() for path in (RELEASED / model).iterdir()})

    def _add(self, files: dict[str, bytes]) -> str:
        with fs.home_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            name = self._claim()
            temporary = self.folder / f".{name}"
            try:
                write_files(temporary, files)
                temporary.rename(self.folder / name)
                fs.sync(self.folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            return name

    def _claim(self) -> str:
        """Reserves the next number by making its hidden folder, which only one process can do."""
        number = int((self.names() or ["v0"])[-1][1:])
        while True:
            number += 1
            try:
                (self.folder / f".v{number}").mkdir()
            except FileExistsError:
                continue
            if not (self.folder / f"v{number}").exists():
                return f"v{number}"
            (self.folder / f".v{number}").rmdir()
