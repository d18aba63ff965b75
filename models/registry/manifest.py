"""What a version says about itself: `manifest.json` in its folder."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from models import fs
from models.errors import BrokenVersion
from models.inference.calibration import Calibration

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 1_000_000

VersionState = Literal["released", "trained", "accepted", "rejected"]
"""accepted and rejected: what the gate said of a retrained version."""

Precision = Literal["int8", "float32"]
"""What a compiled model computes with."""

Answers = Annotated[
    list[Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=10, max_length=10)]],
    Field(min_length=8, max_length=8),
]
"""Probabilities [8, 10] of the tiles of models/inference/parity.py, which whoever loads the version must repeat."""


class CompiledModel(BaseModel):
    """What a version says about its `model.onnx`, which has a calibration, metrics and answers of its own.

    sha256: of that file. metrics: on the same held-out data as those of the weights.
    """

    precision: Precision
    sha256: str = ""
    calibration: Calibration
    metrics: dict[str, Any] = {}
    answers: Answers


class Manifest(BaseModel):
    """network: its name; sha256: of the weights; parent: the version that was active when this one was trained.

    calibration, metrics and answers are those of the weights; compiled is None for a version without `model.onnx`.
    training, dataset and libraries record how the version was made; no code reads them.
    """

    network: str
    state: VersionState = "trained"
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    parent: str | None = None
    metrics: dict[str, Any] = {}
    calibration: Calibration = Calibration()
    sha256: str = ""
    answers: Answers | None = None
    compiled: CompiledModel | None = None
    training: dict[str, Any] = {}
    dataset: dict[str, Any] = {}
    libraries: dict[str, str] = {}


def read_manifest(folder: Path) -> Manifest:
    """Raises BrokenVersion naming the file and the first field that does not fit."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(fs.read_regular(path, MAX_MANIFEST_BYTES))
    except OSError as error:
        raise BrokenVersion(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise BrokenVersion(f"{path} is not a manifest: {field}: {first['msg']}") from error
