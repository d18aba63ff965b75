"""Writes the report: metrics.json for programs, and index.html, a page that needs no other file."""

import dataclasses
import json
from pathlib import Path

from models.errors import HomeError
from models.fs import check_writable, home_errors, replacing
from training.evaluation.answers import Metrics
from training.evaluation.evaluate import Evaluation
from training.evaluation.report.page import page

METRICS, PAGE = "metrics.json", "index.html"


def prepare(folder: Path) -> None:
    """Raises InklingError, before minutes of work, if the report cannot be written to the folder."""
    check_writable(folder)
    for name in (METRICS, PAGE):
        if (folder / name).is_dir():
            raise HomeError(f"{folder / name} is a folder; the report writes a file of that name")


def write(evaluation: Evaluation, folder: Path) -> Path:
    """Writes both files or, on a full disk, neither, and returns the path of the page. Raises InklingError."""
    prepare(folder)
    metrics, html = json.dumps(summary(evaluation), indent=2) + "\n", page(evaluation)
    with home_errors(folder), replacing(folder / METRICS) as first, replacing(folder / PAGE) as second:
        first.write(metrics.encode())
        first.flush()
        second.write(html.encode())
    return folder / PAGE


def summary(evaluation: Evaluation) -> dict[str, object]:
    """All metrics as JSON values; shares are 0..1, floats are rounded to six places."""
    return {
        "model": evaluation.model,
        "seed": evaluation.seed,
        "kinds": [{"name": kind.name, "group": kind.group, **_rounded(kind.metrics)} for kind in evaluation.kinds],
        "pooled": {group: _rounded(metrics) for group, metrics in evaluation.pooled().items()},
    }


def _rounded(metrics: Metrics) -> dict[str, object]:
    rounded: dict[str, object] = json.loads(
        json.dumps(dataclasses.asdict(metrics)), parse_float=lambda text: round(float(text), 6)
    )
    return rounded
