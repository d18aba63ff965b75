"""What the owner of this process is told: one JSON object a line; plain lines are the job's log."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from time import monotonic
from typing import Any

from training.progress import Bar, Report


def tell(**news: Any) -> None:
    """Members of the job that have changed, to the process that owns it."""
    print(json.dumps(news), flush=True)  # noqa: T201 standard output is the pipe to the owner


def log(line: str) -> None:
    """For the log of the job."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class JobProgress:
    """News of the running job, at most once a second; its loss and accuracy are the means since the last ones."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._told = 0.0
        self._figures: list[tuple[float, float]] = []

    def advance(self, epoch: int, share: float, loss: float | None = None, accuracy: float | None = None) -> None:
        if loss is not None and accuracy is not None:
            self._figures.append((loss, accuracy))
        if monotonic() - self._told < 1 and share < 1:
            return
        self._told = monotonic()
        metrics = {}
        if self._figures:
            losses, accuracies = zip(*self._figures, strict=True)
            metrics = {"metrics": {"loss": round(fmean(losses), 4), "accuracy": round(fmean(accuracies), 4)}}
            self._figures = []
        tell(epoch=epoch, epochs=self._epochs, progress=round(share, 4), **metrics)


class JobReport(Report):
    """A report of the ordinary training loop that tells the owner: whatever its bars count is the job's progress.

    images: what all bars count together, those of tiles that are drawn before an epoch begins as well.
    """

    def __init__(self, epochs: int, images: int) -> None:
        super().__init__(quiet=True)
        self._progress = JobProgress(epochs)
        self._images = images
        self._epoch = self._done = 0

    def line(self, text: str) -> None:
        log(text)

    def scores(self, loss: float, accuracy: float) -> None:
        tell(metrics={"loss": round(loss, 4), "accuracy": round(accuracy, 4)})

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        with super().bar(title, total) as bar:
            self._epoch += title.startswith("epoch")
            yield _JobBar(bar, self._advance)

    def _advance(self, images: int) -> None:
        self._done += images
        self._progress.advance(max(1, self._epoch), self._done / self._images)


class _JobBar(Bar):
    def __init__(self, bar: Bar, advanced: Callable[[int], None]) -> None:
        self._bar, self._advanced = bar, advanced

    def advance(self, images: int) -> None:
        self._advanced(images)

    def retitle(self, title: str) -> None:
        self._bar.retitle(title)
