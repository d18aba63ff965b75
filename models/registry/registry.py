"""Versions on disk: a folder for each, and one small file that names the active version.

    HOME/models/v1/weights.pt      a plain state_dict of CPU tensors
    HOME/models/v1/manifest.json   what the version is, how it was made, how good it is
    HOME/models/active             "v1"; replaced atomically, so a reader sees the old name or the new one

A version appears whole or not at all: its files are written to a hidden folder, flushed to disk, and the folder is
renamed.
"""

import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import fs
from models.errors import BrokenVersion, HomeError, UnknownVersion
from models.inference import parity
from models.inference.predictor import Predictor
from models.registry.manifest import MANIFEST, Manifest, read_manifest
from models.registry.reader import ModelRegistryReader

if TYPE_CHECKING:
    from torch import Tensor, nn

RELEASED = Path(__file__).parents[1] / "released"
WEIGHTS = "weights.pt"
MAX_WEIGHTS_BYTES = 8_000_000
"""A version has less than half; the largest teacher has 5.2 MB."""

_LEFTOVER_SECONDS = 3600

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Version:
    """A version that was read from disk. weights: its state_dict as bytes, with the sha256 that the manifest names."""

    name: str
    manifest: Manifest
    weights: bytes

    def network(self) -> "nn.Module":
        """The network with these weights, on the CPU. Raises BrokenVersion if they do not fit."""
        from models.registry import weights

        return weights.load(self.weights, self.manifest.network, self.name)

    def predictor(self, device: str = "cpu") -> Predictor:
        """Raises BrokenVersion if the weights do not fit, or give other answers than when the version was made."""
        from models.inference.torch_predictor import TorchPredictor, unfused_answers

        network, calibration, answers = self.network(), self.manifest.calibration, self.manifest.answers
        expected = unfused_answers(network, calibration) if answers is None else np.array(answers)
        predictor = TorchPredictor(network, calibration, self.name, device)
        parity.check(predictor, expected)
        return predictor


def read(folder: Path, name: str | None = None) -> Version:
    """Reads one folder. Raises BrokenVersion naming the file that does not fit the manifest."""
    manifest = read_manifest(folder)
    path = folder / WEIGHTS
    try:
        data = fs.read_regular(path, MAX_WEIGHTS_BYTES)
    except OSError as error:
        raise BrokenVersion(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise BrokenVersion(f"{path} does not have the sha256 that its manifest names")
    return Version(name or folder.name, manifest, data)


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


def check_output(folder: Path) -> None:
    """Raises HomeError if writing a version to the folder would fail, or would replace anything but a version."""
    try:
        folder = folder.resolve()
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    except (OSError, RuntimeError) as error:  # RuntimeError: links that form a circle
        raise HomeError(f"{folder} cannot be read: {error}") from error
    obstacle = ""
    if not folder.name or (folder.exists() and not folder.is_dir()):
        obstacle = "is not a folder of its own"
    elif others := sorted(names - {WEIGHTS, MANIFEST}):
        obstacle = f"holds {others[0]}"
    elif names and not _is_version(folder):
        obstacle = f"holds a {min(names)} that belongs to no version"
    if obstacle:
        raise HomeError(f"{folder} {obstacle}; name a new folder, or the folder of a version to replace")
    fs.check_writable(folder.parent, folder.name)


def _is_version(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except BrokenVersion:
        return False
    return (folder / WEIGHTS).is_file()


def write_folder(folder: Path, state_dict: "Mapping[str, Tensor]", manifest: Manifest) -> None:
    """Writes the two files of a version and replaces a version that is there. Raises HomeError as `check_output`.

    A process that is killed between the two renames leaves the former version in .NAME-*/former beside the folder.
    """
    check_output(folder)
    folder = folder.resolve()
    with fs.home_errors(folder):
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        former = building / "former"
        try:
            _write_files(building / "new", _files(state_dict, manifest))
            if folder.exists():
                folder.rename(former)
            (building / "new").rename(folder)
            fs.sync(folder.parent)
        finally:
            if former.exists() and not folder.exists():
                former.rename(folder)
            shutil.rmtree(building, ignore_errors=True)


class ModelRegistry(ModelRegistryReader):
    """Loads, writes, activates and prunes the versions under one HOME."""

    def load(self, name: str) -> Version:
        """Raises UnknownVersion or BrokenVersion."""
        return read(self._path(name))

    def write(self, state_dict: "Mapping[str, Tensor]", manifest: Manifest) -> str:
        """Saves the next version and returns its name; does not activate it. Raises HomeError."""
        return self._add(_files(state_dict, manifest))

    def activate(self, name: str) -> None:
        """Makes a version the active one if it loads and passes the parity check; otherwise the active one stays.

        Raises UnknownVersion, BrokenVersion or HomeError.
        """
        with self.locked():
            self._activate(name)

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
        self._sweep()
        return removed

    def _activate(self, name: str) -> None:
        self.load(name).predictor()
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
        return self._add({name: (RELEASED / model / name).read_bytes() for name in (WEIGHTS, MANIFEST)})

    def _add(self, files: dict[str, bytes]) -> str:
        with fs.home_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            name = self._claim()
            temporary = self.folder / f".{name}"
            try:
                _write_files(temporary, files)
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


def _files(state_dict: "Mapping[str, Tensor]", manifest: Manifest) -> dict[str, bytes]:
    """The content of a version's files, by name; the manifest gets the sha256 of the weights."""
    from models.registry import weights

    data = weights.dump(state_dict)
    complete = manifest.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    return {WEIGHTS: data, MANIFEST: f"{complete.model_dump_json(indent=2)}\n".encode()}


def _write_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
        fs.sync(folder / name)
    fs.sync(folder)
