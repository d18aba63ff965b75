"""Held-out tiles, on which predictors are calibrated, scored and compared."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from models.inference.networks import as_input
from models.inference.predictor import Predictor, Tiles
from training import scoring
from training.calibrate import calibrate
from training.data.augment import augment
from training.data.mnist import Digits
from training.data.synthetic import outliers
from training.progress import Report

COPIES, DISTORTED = 2, 0.5
"""Distorted copies of each digit to calibrate on, and their strength: undistorted, hardly any is misread."""
OUTLIERS = 384
"""Drawing one takes some 4 ms."""


@dataclass(frozen=True)
class HeldOut:
    """Digits, distorted and damaged copies of them, and tiles of no digit, uint8 [M, 28, 28]."""

    digits: Digits
    distorted: list[Digits]
    damaged: Digits
    outliers: Tiles

    @classmethod
    def draw(cls, digits: Digits) -> "HeldOut":
        """The same digits give the same tiles."""
        generator = torch.Generator().manual_seed(0)
        distorted = [copies(digits, generator) for _ in range(COPIES)]
        drawn = outliers.bank(digits, OUTLIERS, 1, Report(quiet=True))
        return cls(digits, distorted, copies(digits, generator, damaged=1), drawn.numpy())


@dataclass(frozen=True)
class Measurement:
    """A predictor, calibrated on held-out tiles, and how it answers them.

    metrics: on the digits as they are. right: whether its answer is right, for each digit and each copy. answered: the
    share of these with the verdict `digit`. unsure: whether that is its verdict, for each tile of no digit.
    """

    predictor: Predictor
    metrics: dict[str, float | int]
    right: NDArray[np.bool_]
    answered: float
    unsure: NDArray[np.bool_]


def measure(predictor: Predictor, held_out: HeldOut) -> Measurement:
    """Gives the predictor a calibration of its own."""
    labels = held_out.digits.labels.numpy()
    parts = (held_out.digits, *held_out.distorted, held_out.damaged)
    logits = [scoring.logits_of(predictor, part.images.numpy()) for part in parts]
    predictor.calibration = calibrate(logits[0], labels, logits[1:-1])
    probabilities, answered = predictor.calibration.answers(np.concatenate(logits))
    _, outliers_answered = predictor.calibration.answers(scoring.logits_of(predictor, held_out.outliers))
    return Measurement(
        predictor,
        scoring.score(predictor.calibration, logits[0], labels),
        probabilities.argmax(axis=1) == np.tile(labels, len(parts)),
        float(answered.mean()),
        ~outliers_answered,
    )


def copies(digits: Digits, generator: Generator, damaged: float = 0.0) -> Digits:
    """A distorted copy of each digit. damaged: the share of them that also lose quality."""
    parts = [augment(as_input(images), generator, DISTORTED, damaged) for images in digits.images.split(500)]
    return Digits.from_floats(torch.cat(parts), digits.labels)
