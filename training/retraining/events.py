"""What the trainer process writes to standard output: a JobEvent as JSON on one line, or a line of the job's log."""

import sys
from collections.abc import Callable
from statistics import fmean
from time import monotonic
from typing import Any

from models.contract import JobEvent
from training.progress import Bar, Report

REPORT_SECONDS = 1.0


def emit(**changes: Any) -> None:
    """Reports fields of JobEvent that have changed."""
    log(JobEvent(**changes).model_dump_json(exclude_unset=True))


def log(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class JobProgress:
    """Reports progress at most once a second, with the mean loss and accuracy since the last report."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._reported = 0.0
        self._figures: list[tuple[float, float]] = []

    def advance(self, epoch: int, share: float, loss: float | None = None, accuracy: float | None = None) -> None:
        """share: how much of the whole job is done, 0..1; at 1 it is reported in any case."""
        if loss is not None and accuracy is not None:
            self._figures.append((loss, accuracy))
        if monotonic() - self._reported < REPORT_SECONDS and share < 1:
            return
        self._reported = monotonic()
        changes: dict[str, Any] = {"epoch": epoch, "epochs": self._epochs, "progress": round(share, 4)}
        if self._figures:
            losses, accuracies = zip(*self._figures, strict=True)
            changes["metrics"] = _metrics(fmean(losses), fmean(accuracies))
            self._figures = []
        emit(**changes)


class JobReport(Report):
    """The ordinary training loop's report, as job events: what its bars count is the job's progress.

    images: what all bars count together, including the synthetic tiles that are drawn before an epoch begins.
    """

    def __init__(self, epochs: int, images: int) -> None:
        super().__init__(quiet=True)
        self._progress = JobProgress(epochs)
        self._images = images
        self._epoch = 0
        self._done = 0.0

    def line(self, text: str) -> None:
        log(text)

    def scores(self, loss: float, accuracy: float) -> None:
        emit(metrics=_metrics(loss, accuracy))

    def bar(self, title: str, total: int) -> Bar:
        self._epoch += title.startswith("epoch")
        return _JobBar(self._advance)

    def _advance(self, images: float) -> None:
        self._done += images
        self._progress.advance(max(1, self._epoch), self._done / self._images)


class _JobBar(Bar):
    def __init__(self, advanced: Callable[[float], None]) -> None:
        super().__init__("", None, "images", quiet=True)
        self._advanced = advanced

    def advance(self, count: float) -> None:
        self._advanced(count)


def _metrics(loss: float, accuracy: float) -> dict[str, float]:
    return {"loss": round(loss, 4), "accuracy": round(accuracy, 4)}
