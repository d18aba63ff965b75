"""Saved versions: one folder each, and one small file that says which is active.

    HOME/models/v1/weights.pt      a plain state_dict of CPU tensors
    HOME/models/v1/manifest.json   what it is, how it was made, how good it is
    HOME/models/active             "v1"; replaced atomically, so a reader sees the old name or the new one

A version appears under its name whole or not at all: it is written to a folder with a dot before the name, flushed to
the disk and renamed.
"""

import hashlib
import io
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.errors import BrokenVersion, HomeError, UnknownVersion
from models.fs import check_writable
from models.inference import networks, parity
from models.inference.predictor import Predictor
from models.registry.reader import MANIFEST, ModelRegistryReader, read_manifest
from models.registry.reader import Manifest as Manifest  # whoever writes a version needs it

RELEASED = Path(__file__).parents[1] / "released"
log = logging.getLogger(__name__)

WEIGHTS = "weights.pt"

_LEFTOVER_SECONDS = 3600


@dataclass(frozen=True)
class Version:
    """A version read from disk and checked; its network holds the weights, on the CPU."""

    name: str
    manifest: Manifest
    network: nn.Module

    def predictor(self, device: torch.device) -> Predictor:
        """Takes the network over: it is fused for prediction and can not be trained afterwards.

        Raises BrokenVersion where it does not answer as its weights say.
        """
        expected = parity.answers(self.network)
        predictor = Predictor(self.network, self.manifest.calibration, self.name, device)
        parity.check(predictor, expected)
        return predictor


def read(folder: Path, name: str | None = None) -> Version:
    """Reads and checks one folder. Raises BrokenVersion naming the file that does not fit."""
    manifest = read_manifest(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenVersion(f"{path} can not be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise BrokenVersion(f"{path} does not have the sha256 that its manifest names")
    try:
        weights = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        network = networks.restored(manifest.network, weights)
    except Exception as error:  # torch.load raises whatever the unpickler met
        reason = " ".join(str(error).split())[:300]
        raise BrokenVersion(f"{path} does not fit network {manifest.network!r}: {reason}") from error
    if not all(tensor.isfinite().all() for tensor in network.state_dict().values()):
        raise BrokenVersion(f"{path} holds values that are not finite")
    return Version(name or folder.name, manifest, network)


def find(home: Path, name: str | None = None, released: str = "convnet") -> Version:
    """The version of that name under HOME, or the released model of that name.

    Without a name the active version, or the release called `released` where HOME has none. Raises UnknownVersion or
    BrokenVersion.
    """
    saved = ModelRegistry(home)
    if name in {folder.name for folder in RELEASED.iterdir()}:
        return read(RELEASED / name)
    try:
        name = name or saved.active()
    except UnknownVersion:
        return read(RELEASED / released)
    return saved.load(name)


def check_output(folder: Path) -> None:
    """Raises HomeError unless the two files of a version can be written to the folder without losing anything else."""
    try:
        folder = folder.resolve()
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise HomeError(f"{folder} can not be read: {error}") from error
    found = ""
    if not folder.name or (folder.exists() and not folder.is_dir()):
        found = "is no folder of its own"
    elif others := sorted(names - {WEIGHTS, MANIFEST}):
        found = f"holds {others[0]}"
    elif names and not _is_version(folder):
        found = f"holds a {min(names)} that is none of a version"
    if found:
        raise HomeError(f"{folder} {found}; a version is written to a new folder, or over a version")
    check_writable(folder.parent, folder.name)


def _is_version(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except BrokenVersion:
        return False
    return (folder / WEIGHTS).is_file()


def write_folder(folder: Path, state_dict: Mapping[str, Tensor], manifest: Manifest) -> None:
    """Writes the two files of a version, over a version that is already there. Raises HomeError as `check_output`.

    A process that is killed just between two renames leaves the former version in .NAME-*/former beside the folder.
    """
    check_output(folder)
    folder = folder.resolve()
    with _written(folder):
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        former = building / "former"
        try:
            _write_files(building / "new", state_dict, manifest)
            if folder.exists():
                folder.rename(former)
            (building / "new").rename(folder)
            _flush(folder.parent)
        finally:
            if former.exists() and not folder.exists():
                former.rename(folder)
            shutil.rmtree(building, ignore_errors=True)


class ModelRegistry(ModelRegistryReader):
    """The versions under one HOME, to load, write and activate."""

    def load(self, name: str) -> Version:
        """Raises UnknownVersion or BrokenVersion."""
        return read(self._path(name))

    def write(self, state_dict: Mapping[str, Tensor], manifest: Manifest) -> str:
        """Saves the next version, whole, and returns its name; does not activate it. Raises HomeError."""
        return self._add(lambda folder: _write_files(folder, state_dict, manifest))

    def activate(self, name: str) -> None:
        """Makes it the active version, provided that it loads and predicts; otherwise the active one stays.

        Raises UnknownVersion, BrokenVersion or HomeError.
        """
        with self.locked():
            self._activate(name)

    def prune(self, keep: int) -> list[str]:
        """Removes all but the newest `keep` versions, the active one and its parent; returns what it removed.

        What a killed process left behind goes as well.
        """
        with self.locked():
            names, active = self.names(), self.active()
            spared = {active, self.manifest(active).parent, *names[-keep:]}
            removed = [name for name in names if name not in spared]
            for name in removed:
                hidden = Path(tempfile.mkdtemp(prefix=".removed-", dir=self.folder))
                (self.folder / name).rename(hidden / name)  # in one step: nobody sees half a version
                shutil.rmtree(hidden, ignore_errors=True)
        self._sweep()
        return removed

    def _activate(self, name: str) -> None:
        self.load(name).predictor(torch.device("cpu"))
        with _written(self._active):
            descriptor, temporary = tempfile.mkstemp(prefix=".active-", dir=self.folder)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(f"{name}\n")
                    file.flush()
                    os.fchmod(descriptor, 0o644)
                    os.fsync(descriptor)
                Path(temporary).replace(self._active)
            finally:
                Path(temporary).unlink(missing_ok=True)
            _flush(self.folder)

    def seed(self, model: str) -> None:
        """Brings a HOME up to date with the released models, and logs what it did.

        A new HOME gets the released model as v1. A release that has changed since is added as the next version, and
        activated where the active version is that release and nobody retrained it. Raises HomeError or BrokenVersion.
        """
        check_writable(self.folder)
        with self.locked():  # several services may start on one HOME
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
            if not (RELEASED / network).is_dir():  # somebody's own, by `inkling train --output`
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
            with suppress(OSError):  # somebody else sweeps as well
                if time.time() - path.stat().st_mtime > _LEFTOVER_SECONDS:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _copy_release(self, model: str) -> str:
        read(RELEASED / model)  # what does not fit is not copied
        return self._add(lambda folder: _copy_files(RELEASED / model, folder))

    def _add(self, fill: Callable[[Path], None]) -> str:
        with _written(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            name = self._claim()
            temporary = self.folder / f".{name}"
            try:
                fill(temporary)
                temporary.rename(self.folder / name)
                _flush(self.folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            return name

    def _claim(self) -> str:
        """Reserves the next number by an exclusive mkdir of its temporary name."""
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


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """Raises HomeError naming the path where the system can not write it, as on a full disk."""
    try:
        yield
    except OSError as error:
        raise HomeError(f"{path} can not be written: {error.strerror}") from error


def _write_files(folder: Path, state_dict: Mapping[str, Tensor], manifest: Manifest) -> None:
    folder.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in state_dict.items()}, buffer)
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    (folder / WEIGHTS).write_bytes(buffer.getvalue())
    (folder / MANIFEST).write_text(manifest.model_copy(update={"sha256": sha256}).model_dump_json(indent=2) + "\n")
    _flush_files(folder)


def _copy_files(source: Path, folder: Path) -> None:
    for name in (WEIGHTS, MANIFEST):
        shutil.copyfile(source / name, folder / name)
    _flush_files(folder)


def _flush_files(folder: Path) -> None:
    for path in (folder / WEIGHTS, folder / MANIFEST, folder):
        _flush(path)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
