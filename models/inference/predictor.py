"""One saved version, ready to predict: tiles in, calibrated predictions out."""

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

Tiles = NDArray[np.uint8]
"""Normalised pictures [N, 28, 28]: ink 255 on background 0."""


class Prediction(NamedTuple):
    digit: int
    confidence: float
    probabilities: tuple[float, ...]
    verdict: Verdict
    model: str


def as_input(tiles: Tiles | Tensor, device: torch.device | None = None) -> Tensor:
    """Tiles uint8 [N, 28, 28] as networks take them: float32 [N, 1, 28, 28] in 0..1, on the device."""
    tensor = tiles if isinstance(tiles, Tensor) else torch.from_numpy(tiles)
    return tensor.to(device).unsqueeze(1).to(torch.float32).div_(255)


class Predictor:
    """A network with its calibration, on a device. Not safe for several threads at once.

    largest: the largest batch that it was warmed for, 0 before.
    """

    def __init__(self, network: nn.Module, calibration: Calibration, model: str, device: torch.device) -> None:
        self.calibration = calibration
        self.model = model
        self.device = device
        self.largest = 0
        # Channels last is the faster layout for small convolutions on CPU and on CUDA alike.
        self._network = networks.fused(network).to(device).to(memory_format=torch.channels_last)

    def logits(self, tiles: Tiles) -> NDArray[np.float32]:
        """[N, 28, 28] to [N, 10]. Raises InferenceFailed when the device fails or the result is not finite.

        DeviceLost where the device fails in a way that leaves this process unable to use it: CUDA repeats the error
        of one kernel for every call that follows.
        """
        try:
            with torch.inference_mode():
                inputs = as_input(tiles, self.device).contiguous(memory_format=torch.channels_last)
                logits: NDArray[np.float32] = self._network(inputs).to("cpu", torch.float32).numpy()
        except RuntimeError as error:
            kind = DeviceLost if isinstance(error, torch.AcceleratorError) else InferenceFailed
            raise kind(f"the forward pass failed on {self.device}: {_first_line(error)}") from error
        if not np.isfinite(logits).all():
            raise InferenceFailed(f"model {self.model} gave logits that are not finite")
        return logits

    def predict(self, tiles: Tiles) -> list[Prediction]:
        """Tiles [N, 28, 28] to N predictions. Raises InferenceFailed, DeviceLost as `logits`."""
        probabilities, certain = self.calibration.answers(self.logits(tiles))
        return [self._prediction(*found) for found in zip(probabilities.tolist(), certain.tolist(), strict=True)]

    def warm(self, sizes: Sequence[int] = (1,), within: float = math.inf) -> None:
        """Runs a forward pass at each batch size, so that no user's request is the first. Raises InferenceFailed.

        Sizes are given in rising order; one that takes longer than `within` seconds ends it, and is not for use.
        """
        for size in sizes:
            # The first pass prepares, and another may meet a busy machine: one that fits is enough.
            if not any(self._seconds(size) <= within for _ in range(4)) and self.largest:
                break
            self.largest = size

    def _seconds(self, size: int) -> float:
        started = perf_counter()
        self.logits(np.zeros((size, 28, 28), np.uint8))
        return perf_counter() - started

    def _prediction(self, row: list[float], certain: bool) -> Prediction:
        confidence = max(row)
        return Prediction(row.index(confidence), confidence, tuple(row), "digit" if certain else "unsure", self.model)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
