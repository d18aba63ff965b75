"""What a predictor says to pictures, all the way from their bytes, and what that is worth."""

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, NothingDrawn, PictureError
from models.inference.calibration import Calibration
from models.inference.predictor import Predictor
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.evaluation import metrics
from training.evaluation.datasets import Sample
from training.evaluation.metrics import Flags, Floats, Labels

BATCH = 250
THREADS = 2
"""Pillow, and NumPy on large arrays, let go of the interpreter's lock."""


@dataclass(frozen=True)
class Answers:
    """To N pictures. Where nothing was drawn, the tile is empty, every digit as likely as any other, and kept False.

    tiles: uint8 [N, 28, 28]; drawn, kept (the verdict is `digit`): bool [N]; labels: int64 [N];
    probabilities, and uncalibrated ones: float64 [N, 10].
    """

    labels: Labels
    tiles: NDArray[np.uint8]
    drawn: Flags
    kept: Flags
    probabilities: Floats
    uncalibrated: Floats

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digits(self) -> Labels:
        digits: Labels = self.probabilities.argmax(axis=1)
        return digits

    @property
    def confidences(self) -> Floats:
        confidences: Floats = self.probabilities.max(axis=1)
        return confidences

    @property
    def right(self) -> Flags:
        right: Flags = self.drawn & (self.digits == self.labels)
        return right


@dataclass(frozen=True)
class Figures:
    """Shares are 0..1, with their 95 % intervals; likelihoods are in nats.

    certain: the negative log-likelihood if every answer were given with confidence 1 (its floor is 1e-12).
    """

    pictures: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    kept: float
    kept_interval: tuple[float, float]
    nothing_drawn: int
    calibration_error: float
    auroc: float | None
    negative_log_likelihood: float
    uncalibrated: float
    certain: float


@dataclass(frozen=True)
class Refusals:
    """For pictures of no digit: the share that came back `unsure`, or refused because nothing was drawn."""

    pictures: int
    unsure: float
    unsure_interval: tuple[float, float]
    nothing_drawn: int


def answer(predictor: Predictor, samples: Sequence[Sample], advance: Callable[[int], None] | None = None) -> Answers:
    """Reads, normalises and predicts; `advance` hears how many more are done. Raises DataError naming a broken file."""
    parts = []
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            parts.append(_answer(predictor, part, list(pool.map(_tile, part))))
            if advance:
                advance(len(part))
    return pooled(parts)


def pooled(parts: Sequence[Answers]) -> Answers:
    """As if they had been answered together."""
    names = [field.name for field in dataclasses.fields(Answers)]
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def figures(answers: Answers) -> Figures:
    """For pictures of digits, one or more."""
    right, confidences = answers.right, answers.confidences
    certain = np.full_like(answers.probabilities, 0.0)
    certain[np.arange(len(answers)), np.where(answers.drawn, answers.digits, (answers.labels + 1) % 10)] = 1
    return Figures(
        pictures=len(answers),
        accuracy=float(right.mean()),
        accuracy_interval=metrics.wilson(int(right.sum()), len(answers)),
        kept=float(answers.kept.mean()),
        kept_interval=metrics.wilson(int(answers.kept.sum()), len(answers)),
        nothing_drawn=int((~answers.drawn).sum()),
        calibration_error=metrics.calibration_error(confidences, right),
        auroc=metrics.auroc(confidences, right),
        negative_log_likelihood=metrics.negative_log_likelihood(answers.probabilities, answers.labels),
        uncalibrated=metrics.negative_log_likelihood(answers.uncalibrated, answers.labels),
        certain=metrics.negative_log_likelihood(certain, answers.labels),
    )


def refusals(answers: Answers) -> Refusals:
    """For pictures of no digit, one or more."""
    unsure = ~answers.kept
    return Refusals(
        pictures=len(answers),
        unsure=float(unsure.mean()),
        unsure_interval=metrics.wilson(int(unsure.sum()), len(answers)),
        nothing_drawn=int((~answers.drawn).sum()),
    )


def _tile(sample: Sample) -> NDArray[np.uint8] | None:
    try:
        return normalise(decode(sample.read())).pixels
    except NothingDrawn:
        return None
    except PictureError as error:
        raise DataError(f"{sample.name}: {error}") from error


def _answer(predictor: Predictor, samples: Sequence[Sample], found: Sequence[NDArray[np.uint8] | None]) -> Answers:
    count = len(samples)
    drawn = np.array([tile is not None for tile in found])
    tiles = np.zeros((count, 28, 28), np.uint8)
    kept = np.zeros(count, bool)
    probabilities, uncalibrated = np.full((count, 10), 0.1), np.full((count, 10), 0.1)
    if drawn.any():
        tiles[drawn] = np.stack([tile for tile in found if tile is not None])
        predictions = predictor.predict(tiles[drawn])
        kept[drawn] = [prediction.verdict == "digit" for prediction in predictions]
        probabilities[drawn] = [prediction.probabilities for prediction in predictions]
        uncalibrated[drawn] = Calibration().probabilities(predictor.logits(tiles[drawn]))
    labels = np.array([sample.label for sample in samples], np.int64)
    return Answers(labels, tiles, drawn, kept, probabilities, uncalibrated)
