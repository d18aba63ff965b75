"""What a version says about itself: `manifest.json` in its folder."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field, ValidationError

from models.errors import BrokenVersion
from models.inference.calibration import Calibration

MANIFEST = "manifest.json"

VersionState = Literal["released", "trained", "accepted", "rejected"]
"""accepted and rejected: what the gate said of a retrained version."""


class Manifest(BaseModel):
    """network: its name; sha256: of the weights; parent: the version that was active when this one was trained.

    training, dataset and libraries record how the version was made; no code reads them.
    """

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


def read_manifest(folder: Path) -> Manifest:
    """Raises BrokenVersion naming the file and the first field that does not fit."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BrokenVersion(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise BrokenVersion(f"{path} is not a manifest: {field}: {first['msg']}") from error
