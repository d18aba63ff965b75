"""Saved versions: one folder each, and one small file that says which is active.

    HOME/models/v1/weights.pt      a plain state_dict of CPU tensors
    HOME/models/v1/manifest.json   what it is, how it was made, how good it is
    HOME/models/active             "v1"; replaced atomically, so a reader sees the old name or the new one

A version appears under its name whole or not at all: it is written to a folder with a dot before the name, flushed to
the disk and renamed.
"""

import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from torch import Tensor, nn

from models import networks
from models.calibration import Calibration
from models.errors import BrokenVersion, HomeError, UnknownVersion
from models.prediction import Predictor

RELEASED = Path(__file__).parent / "released"
WEIGHTS, MANIFEST = "weights.pt", "manifest.json"


class Manifest(BaseModel):
    network: str
    state: Literal["released", "trained"] = "trained"
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    parent: str | None = None
    metrics: dict[str, Any] = {}
    calibration: Calibration = Calibration()
    sha256: str = ""
    training: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    libraries: dict[str, str] = {}


@dataclass(frozen=True)
class Version:
    """A version read from disk and checked; its network holds the weights, on the CPU."""

    name: str
    manifest: Manifest
    network: nn.Module

    def predictor(self, device: torch.device) -> Predictor:
        """Takes the network over: it is fused for prediction and can not be trained afterwards."""
        return Predictor(self.network, self.manifest.calibration, self.name, device)


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
        network = networks.create(manifest.network)
        network.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
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
    saved = Versions(home)
    if name and (RELEASED / name / MANIFEST).is_file():
        return read(RELEASED / name)
    try:
        return saved.load(name or saved.active())
    except UnknownVersion:
        if name:
            raise
        return read(RELEASED / released)


def read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BrokenVersion(f"{path} can not be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise BrokenVersion(f"{path} is not a manifest: {where}: {first['msg']}") from error


def write_folder(folder: Path, state_dict: Mapping[str, Tensor], manifest: Manifest) -> None:
    """Writes the two files of a version, replacing a folder that is already there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _building(folder.parent / f".{folder.name}") as temporary:
        _write_files(temporary, state_dict, manifest)
        former = folder.parent / f".{folder.name}.former"
        if folder.exists():
            folder.rename(former)
        temporary.rename(folder)
        shutil.rmtree(former, ignore_errors=True)


class Versions:
    """The versions under one HOME. Several processes may use the same HOME at a time."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "models"
        self._active = self.folder / "active"

    def names(self) -> list[str]:
        """Oldest first."""
        if not self.folder.is_dir():
            return []
        found = (re.fullmatch(r"v([1-9]\d*)", entry.name) for entry in self.folder.iterdir())
        return [f"v{number}" for number in sorted(int(match[1]) for match in found if match)]

    def active(self) -> str:
        """The active version's name. Raises UnknownVersion when none was ever activated."""
        try:
            return self._active.read_text().strip()
        except FileNotFoundError:
            raise UnknownVersion(f"no version is active under {self.folder}") from None

    def manifest(self, name: str) -> Manifest:
        return read_manifest(self._path(name))

    def load(self, name: str) -> Version:
        """Raises UnknownVersion or BrokenVersion."""
        return read(self._path(name))

    def write(self, state_dict: Mapping[str, Tensor], manifest: Manifest) -> str:
        """Saves the next version, whole, and returns its name; does not activate it."""
        return self._add(lambda folder: _write_files(folder, state_dict, manifest))

    def activate(self, name: str) -> None:
        """Makes it the active version, provided that it loads; otherwise the active one stays."""
        self.load(name)
        temporary = self.folder / f".active.{os.getpid()}"
        temporary.write_text(f"{name}\n")
        _flush(temporary)
        temporary.replace(self._active)
        _flush(self.folder)

    def seed(self, model: str) -> str | None:
        """Brings a HOME up to date with the released models, and says what it did in a line for the log.

        A new HOME gets the released model as v1. Where the active version is a release that nobody retrained and the
        release has changed since, the new one is added as the next version and activated.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _building(self.folder / f".probe.{os.getpid()}"):
                pass
        except OSError as error:
            where = f"INKLING_HOME {self.folder.parent} can not be written by uid {os.getuid()}"
            raise HomeError(f"{where}: {error.strerror}") from error
        if not self._active.exists():
            name = self._copy_release(model)
            self.activate(name)
            return f"{name} is the released {model}"
        active = self.manifest(self.active())
        manifests = [self.manifest(name) for name in self.names()]
        for network in sorted({manifest.network for manifest in manifests if manifest.state == "released"}):
            if read_manifest(RELEASED / network).sha256 in {manifest.sha256 for manifest in manifests}:
                continue
            name = self._copy_release(network)
            if active.state != "released" or active.network != network:
                return f"{name} is a newer release of {network}; {self.active()} stays active"
            self.activate(name)
            return f"{name} is a newer release of {network}, now active"
        if active.network != model and active.state == "released":
            return f"INKLING_MODEL={model} only starts a new HOME; this one goes on with {active.network}"
        return None

    def _copy_release(self, model: str) -> str:
        read(RELEASED / model)  # what does not fit is not copied
        return self._add(lambda folder: _copy_files(RELEASED / model, folder))

    def _add(self, fill: Callable[[Path], None]) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        name = self._claim()
        with _building(self.folder / f".{name}", claimed=True) as temporary:
            fill(temporary)
            temporary.rename(self.folder / name)
            _flush(self.folder)
        return name

    def _path(self, name: str) -> Path:
        if name not in self.names():
            raise UnknownVersion(f"there is no version {name!r}; there are {', '.join(self.names()) or 'none'}")
        return self.folder / name

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
def _building(temporary: Path, claimed: bool = False) -> Iterator[Path]:
    """A folder that is gone afterwards unless it was renamed, also after Ctrl-C."""
    if not claimed:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_files(folder: Path, state_dict: Mapping[str, Tensor], manifest: Manifest) -> None:
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
