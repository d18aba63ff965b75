"""One model version ready to predict: tiles in, calibrated predictions out."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.errors import InferenceFailed
from models.inference.calibration import Calibration, Verdict
from models.preprocessing.normalise import TILE_SIDE

Tiles = NDArray[np.uint8]
"""Normalised images [N, 28, 28], ink 255 on background 0."""
FEW = 8
"""As many images as are calibrated one by one: NumPy's overhead would take longer."""


class Prediction(NamedTuple):
    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    verdict: Verdict
    model: str


class Predictor(ABC):
    """A version's network and its calibration. Not safe for use by several threads at once.

    model: the version's name. device: where the network runs, such as `cpu` or `cuda:0`. runtime: what runs it there.
    max_batch_size: the largest batch size that `warm` found usable, 0 before. any_size: whether batches of many sizes
    cost no more memory than batches of a few.
    """

    any_size = False

    def __init__(self, calibration: Calibration, model: str, device: str, runtime: str) -> None:
        self.calibration = calibration
        self.model = model
        self.device = device
        self.runtime = runtime
        self.max_batch_size = 0

    @abstractmethod
    def forward(self, tiles: Tiles) -> NDArray[np.float32]:
        """Maps tiles [N, 28, 28] to logits [N, 10]. Raises InferenceFailed and DeviceLost as `logits` does."""

    def logits(self, tiles: Tiles) -> NDArray[np.float32]:
        """Maps tiles [N, 28, 28] to logits [N, 10].

        Raises InferenceFailed when the device fails or the logits are not finite, and DeviceLost when this process
        cannot use the device any more.
        """
        logits = self.forward(tiles)
        if not np.isfinite(logits).all():
            raise InferenceFailed(f"model {self.model} gave logits that are not finite")
        return logits

    def predict(self, tiles: Tiles) -> list[Prediction]:
        """Predicts tiles [N, 28, 28]. Raises InferenceFailed and DeviceLost as `logits` does."""
        logits = self.logits(tiles)
        if len(tiles) <= FEW:
            return [self._prediction(*self.calibration.answer(row)) for row in logits.tolist()]
        probabilities, is_digit = self.calibration.answers(logits)
        return [self._prediction(*row) for row in zip(probabilities.tolist(), is_digit.tolist(), strict=True)]

    def warm(self, sizes: Sequence[int] = (1,), max_seconds: float = math.inf) -> None:
        """Runs a forward pass at each batch size, so that no request meets a cold one. Raises InferenceFailed.

        sizes: in ascending order, used up to the first that takes longer than `max_seconds`.
        """
        for size in sizes:
            # The first pass allocates, and others may meet a busy machine: one pass in time is enough.
            if not any(self._time_forward(size) <= max_seconds for _ in range(4)) and self.max_batch_size:
                break
            self.max_batch_size = size

    def _time_forward(self, size: int) -> float:
        started = perf_counter()
        self.logits(np.zeros((size, TILE_SIDE, TILE_SIDE), np.uint8))
        return perf_counter() - started

    def _prediction(self, row: list[float], is_digit: bool) -> Prediction:
        confidence = max(row)
        return Prediction(row.index(confidence), confidence, tuple(row), "digit" if is_digit else "unsure", self.model)
