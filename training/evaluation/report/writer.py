"""What stays of an evaluation: metrics.json, and index.html, one page that needs no other file."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

from models.errors import HomeError
from models.fs import check_writable
from training.evaluation.answers import Figures, Refusals
from training.evaluation.evaluate import Evaluation
from training.evaluation.report import charts
from training.evaluation.report.page import page

METRICS, PAGE = "metrics.json", "index.html"


def prepare(folder: Path) -> None:
    """Raises InklingError, before minutes of work, when there could be no report in that folder."""
    charts.require()
    check_writable(folder)
    for name in (METRICS, PAGE):
        if (folder / name).is_dir():
            raise HomeError(f"{folder / name} is a folder, where the report has a file")


def write(evaluation: Evaluation, folder: Path) -> Path:
    """Writes both files, or neither, and returns the page's path. Raises InklingError."""
    prepare(folder)
    texts = {METRICS: json.dumps(measured(evaluation), indent=2) + "\n", PAGE: page(evaluation)}
    building = Path(tempfile.mkdtemp(prefix=".report-", dir=folder))
    try:
        for name, text in texts.items():
            (building / name).write_text(text, encoding="utf-8")
        for name in texts:
            (building / name).replace(folder / name)
    except OSError as error:
        raise HomeError(f"the report can not be written to {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder / PAGE


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
