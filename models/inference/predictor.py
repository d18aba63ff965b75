"""One model version ready to predict: tiles in, calibrated predictions out."""

import math
from collections.abc import Sequence
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import DeviceLost, InferenceFailed
from models.inference import networks
from models.inference.calibration import Calibration, Verdict
from models.preprocessing.normalise import TILE_SIDE

Tiles = NDArray[np.uint8]
"""Normalised images [N, 28, 28], ink 255 on background 0."""


class Prediction(NamedTuple):
    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    verdict: Verdict
    model: str


def as_input(tiles: Tiles | Tensor, device: torch.device | None = None) -> Tensor:
    """Converts tiles uint8 [N, 28, 28] to a network's input, float32 [N, 1, 28, 28] in 0..1, on the device."""
    tensor = tiles if isinstance(tiles, Tensor) else torch.from_numpy(tiles)
    return tensor.to(device).unsqueeze(1).to(torch.float32).div_(255)


class Predictor:
    """A network and its calibration on a device. Not safe for use by several threads at once.

    max_batch_size: the largest batch size that `warm` found usable, 0 before.
    """

    def __init__(self, network: nn.Module, calibration: Calibration, model: str, device: torch.device) -> None:
        self.calibration = calibration
        self.model = model
        self.device = device
        self.max_batch_size = 0
        # Channels last is the faster layout for small convolutions, on CPU and on CUDA.
        self._network = networks.fuse_batch_norm(network).to(device).to(memory_format=torch.channels_last)

    def logits(self, tiles: Tiles) -> NDArray[np.float32]:
        """Maps tiles [N, 28, 28] to logits [N, 10].

        Raises InferenceFailed when the device fails or the logits are not finite, and DeviceLost when this process
        cannot use the device any more: after an error in a kernel, CUDA fails every later call.
        """
        try:
            with torch.inference_mode():
                inputs = as_input(tiles, self.device).contiguous(memory_format=torch.channels_last)
                logits: NDArray[np.float32] = self._network(inputs).to("cpu", torch.float32).numpy()
        except RuntimeError as error:
            kind = DeviceLost if isinstance(error, torch.AcceleratorError) else InferenceFailed
            first_line = str(error).strip().partition("\n")[0]
            raise kind(f"the forward pass failed on {self.device}: {first_line}") from error
        if not np.isfinite(logits).all():
            raise InferenceFailed(f"model {self.model} gave logits that are not finite")
        return logits

    def predict(self, tiles: Tiles) -> list[Prediction]:
        """Predicts tiles [N, 28, 28]. Raises InferenceFailed and DeviceLost as `logits` does."""
        probabilities, is_digit = self.calibration.answers(self.logits(tiles))
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
