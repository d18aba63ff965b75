"""The files of one version: read, written, and what is made of them."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import fs
from models.errors import BrokenVersion, HomeError
from models.inference import parity, runtimes
from models.inference.predictor import Predictor
from models.inference.runtimes import Runtime
from models.registry.manifest import MANIFEST, CompiledModel, Manifest, read_manifest

if TYPE_CHECKING:
    from torch import Tensor, nn

WEIGHTS, COMPILED = "weights.pt", "model.onnx"
MAX_FILE_BYTES = 8_000_000
"""A version's weights have less than half; the largest teacher's have 5.2 MB."""


@dataclass(frozen=True)
class Version:
    """A version that was read from disk; its files have the checksums that the manifest names.

    weights: its state_dict as bytes. compiled: the same network for ONNX Runtime, None if it was never compiled.
    """

    name: str
    manifest: Manifest
    weights: bytes
    compiled: bytes | None = None

    def network(self) -> "nn.Module":
        """The network with these weights, on the CPU. Raises BrokenVersion if they do not fit."""
        from models.registry import weights

        return weights.load(self.weights, self.manifest.network, self.name)

    def predictor(self, device: str = "cpu", runtime: Runtime = "auto") -> Predictor:
        """A predictor that answers as when the version was made. Raises BrokenVersion and DeviceError."""
        chosen = runtimes.resolve(runtime, device)
        if chosen == "onnxruntime" and self.compiled is not None and self.manifest.compiled is not None:
            return self._onnx_predictor(self.compiled, self.manifest.compiled)
        if chosen == "onnxruntime" and (runtime != "auto" or not runtimes.is_installed("torch")):
            raise BrokenVersion(f"{self.name} has no {COMPILED}; it gets one when it is activated on a host with torch")
        return self._torch_predictor(device)

    def _onnx_predictor(self, compiled: bytes, described: CompiledModel) -> Predictor:
        from models.inference.onnx_predictor import OnnxPredictor

        predictor = OnnxPredictor(compiled, described.calibration, self.name, described.precision)
        parity.check(predictor, np.array(described.answers))
        return predictor

    def _torch_predictor(self, device: str) -> Predictor:
        from models.inference.torch_predictor import TorchPredictor, unfused_answers

        network, calibration, answers = self.network(), self.manifest.calibration, self.manifest.answers
        expected = unfused_answers(network, calibration) if answers is None else np.array(answers)
        predictor = TorchPredictor(network, calibration, self.name, device)
        parity.check(predictor, expected)
        return predictor


def read(folder: Path, name: str | None = None) -> Version:
    """Reads one folder. Raises BrokenVersion naming the file that does not fit the manifest."""
    manifest = read_manifest(folder)
    weights = read_file(folder / WEIGHTS, manifest.sha256)
    compiled = read_file(folder / COMPILED, manifest.compiled.sha256) if manifest.compiled else None
    return Version(name or folder.name, manifest, weights, compiled)


def read_file(path: Path, sha256: str) -> bytes:
    """Raises BrokenVersion if the file has another checksum or cannot be read."""
    try:
        data = fs.read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise BrokenVersion(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BrokenVersion(f"{path} does not have the sha256 that its manifest names")
    return data


def encode(state_dict: "Mapping[str, Tensor]", manifest: Manifest, compiled: bytes | None) -> dict[str, bytes]:
    """The content of a version's files, by name; the manifest gets the checksums, and describes only what is there."""
    from models.registry import weights

    files = {WEIGHTS: weights.dump(state_dict)}
    described = manifest.compiled if compiled is not None else None
    if compiled is not None and described is not None:
        files[COMPILED] = compiled
        described = described.model_copy(update={"sha256": hashlib.sha256(compiled).hexdigest()})
    sha256 = hashlib.sha256(files[WEIGHTS]).hexdigest()
    complete = manifest.model_copy(update={"sha256": sha256, "compiled": described})
    return {**files, MANIFEST: f"{complete.model_dump_json(indent=2)}\n".encode()}


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
    elif others := sorted(names - {WEIGHTS, COMPILED, MANIFEST}):
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


def write(folder: Path, state_dict: "Mapping[str, Tensor]", manifest: Manifest, compiled: bytes | None = None) -> None:
    """Writes the files of a version and replaces a version that is there. Raises HomeError as `check_output`.

    A process that is killed between the two renames leaves the former version in .NAME-*/former beside the folder.
    """
    check_output(folder)
    folder = folder.resolve()
    with fs.home_errors(folder):
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        former = building / "former"
        try:
            write_files(building / "new", encode(state_dict, manifest, compiled))
            if folder.exists():
                folder.rename(former)
            (building / "new").rename(folder)
            fs.sync(folder.parent)
        finally:
            if former.exists() and not folder.exists():
                former.rename(folder)
            shutil.rmtree(building, ignore_errors=True)


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    """Writes files by name, and flushes them and the folder to disk. Raises OSError."""
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
        fs.sync(folder / name)
    fs.sync(folder)
