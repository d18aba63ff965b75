"""What stays of an evaluation: metrics.json, and index.html, one page that needs no other file."""

import dataclasses
import json
from pathlib import Path

from models.errors import HomeError
from models.folders import check_writable
from training.evaluation import charts
from training.evaluation.answers import Figures, Refusals
from training.evaluation.evaluate import Evaluation
from training.evaluation.page import page


def prepare(folder: Path) -> None:
    """Raises InklingError, before minutes of work, when there could be no report in that folder."""
    charts.require()
    check_writable(folder)


def write(evaluation: Evaluation, folder: Path) -> Path:
    """Writes both files, each whole or not at all, and returns the page's path. Raises InklingError."""
    prepare(folder)
    files = {"metrics.json": json.dumps(measured(evaluation), indent=2) + "\n", "index.html": page(evaluation)}
    for name, text in files.items():
        temporary = folder / f".{name}"
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(folder / name)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise HomeError(f"{folder / name} can not be written: {error.strerror}") from error
    return folder / "index.html"


def measured(evaluation: Evaluation) -> dict[str, object]:
    """All figures, for programs: shares are 0..1 and rounded to six places."""
    return {
        "model": evaluation.model,
        "seed": evaluation.seed,
        "kinds": [{"name": kind.name, "group": kind.group, **_rounded(kind.figures)} for kind in evaluation.kinds],
        "together": {group: _rounded(worth) for group, worth in evaluation.pooled().items()},
    }


def _rounded(worth: Figures | Refusals) -> dict[str, object]:
    def short(value: object) -> object:
        if isinstance(value, tuple):
            return [short(item) for item in value]
        return round(value, 6) if isinstance(value, float) else value

    return {name: short(value) for name, value in dataclasses.asdict(worth).items()}
