"""Answers of a predictor to encoded pictures, and the metrics of these answers."""

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
from training.scoring import negative_log_likelihood

BATCH = 250
THREADS = 2
"""More than one helps, as Pillow and NumPy release the interpreter's lock."""


@dataclass(frozen=True)
class Answers:
    """The answers to N pictures. Without ink the tile is empty, probabilities are uniform and answered is False.

    labels: int64 [N]; tiles: uint8 [N, 28, 28]; has_ink, answered (the verdict is `digit`): bool [N];
    probabilities, uncalibrated: float64 [N, 10].
    """

    labels: Labels
    tiles: NDArray[np.uint8]
    has_ink: Flags
    answered: Flags
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
    def correct(self) -> Flags:
        correct: Flags = self.has_ink & (self.digits == self.labels)
        return correct


@dataclass(frozen=True)
class DigitMetrics:
    """Metrics on pictures of digits. Shares are 0..1, intervals are of 95 %, likelihoods are in nats.

    coverage: the share with verdict `digit`.
    """

    pictures: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    coverage: float
    coverage_interval: tuple[float, float]
    nothing_drawn: int
    calibration_error: float
    auroc: float | None
    negative_log_likelihood: float
    uncalibrated_negative_log_likelihood: float


@dataclass(frozen=True)
class OutlierMetrics:
    """Metrics on pictures of no digit. unsure: the share answered `unsure`, or refused because nothing is drawn."""

    pictures: int
    unsure: float
    unsure_interval: tuple[float, float]
    nothing_drawn: int


Metrics = DigitMetrics | OutlierMetrics


def answer(predictor: Predictor, samples: Sequence[Sample], advance: Callable[[int], None] | None = None) -> Answers:
    """Decodes, normalises and predicts, as the service does; calls `advance` with the size of each batch.

    Raises DataError that names a broken file.
    """
    batches = []
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            batches.append(_answer(predictor, batch, list(pool.map(_tile, batch))))
            if advance:
                advance(len(batch))
    return pooled(batches)


def answer_again(predictor: Predictor, answers: Answers) -> Answers:
    """The answers of another predictor to the same tiles."""
    parts = range(0, len(answers), BATCH)
    labels, tiles, has_ink = answers.labels, answers.tiles, answers.has_ink
    return pooled(
        [_predicted(predictor, labels[i : i + BATCH], tiles[i : i + BATCH], has_ink[i : i + BATCH]) for i in parts]
    )


def pooled(parts: Sequence[Answers]) -> Answers:
    """All answers in one."""
    names = [field.name for field in dataclasses.fields(Answers)]
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def digit_metrics(answers: Answers) -> DigitMetrics:
    correct, confidences, count = answers.correct, answers.confidences, len(answers)
    return DigitMetrics(
        pictures=count,
        accuracy=float(correct.mean()),
        accuracy_interval=metrics.wilson_interval(int(correct.sum()), count),
        coverage=float(answers.answered.mean()),
        coverage_interval=metrics.wilson_interval(int(answers.answered.sum()), count),
        nothing_drawn=int((~answers.has_ink).sum()),
        calibration_error=metrics.calibration_error(confidences, correct),
        auroc=metrics.auroc(confidences, correct),
        negative_log_likelihood=negative_log_likelihood(answers.probabilities, answers.labels),
        uncalibrated_negative_log_likelihood=negative_log_likelihood(answers.uncalibrated, answers.labels),
    )


def outlier_metrics(answers: Answers) -> OutlierMetrics:
    unsure = ~answers.answered
    return OutlierMetrics(
        pictures=len(answers),
        unsure=float(unsure.mean()),
        unsure_interval=metrics.wilson_interval(int(unsure.sum()), len(answers)),
        nothing_drawn=int((~answers.has_ink).sum()),
    )


def _tile(sample: Sample) -> NDArray[np.uint8] | None:
    try:
        return normalise(decode(sample.read())).pixels
    except NothingDrawn:
        return None
    except PictureError as error:
        raise DataError(f"{sample.name}: {error}") from error


def _answer(predictor: Predictor, samples: Sequence[Sample], read: Sequence[NDArray[np.uint8] | None]) -> Answers:
    tiles = np.stack([np.zeros((28, 28), np.uint8) if tile is None else tile for tile in read])
    labels = np.array([sample.label for sample in samples], np.int64)
    return _predicted(predictor, labels, tiles, np.array([tile is not None for tile in read]))


def _predicted(predictor: Predictor, labels: Labels, tiles: NDArray[np.uint8], has_ink: Flags) -> Answers:
    answered = np.zeros(len(labels), bool)
    probabilities, uncalibrated = np.full((len(labels), 10), 0.1), np.full((len(labels), 10), 0.1)
    if has_ink.any():
        logits = predictor.logits(tiles[has_ink])
        probabilities[has_ink], answered[has_ink] = predictor.calibration.answers(logits)
        uncalibrated[has_ink] = Calibration().probabilities(logits)
    return Answers(labels, tiles, has_ink, answered, probabilities, uncalibrated)
