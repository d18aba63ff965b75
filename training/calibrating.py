"""Fits a calibration to held-out logits."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.calibration import Calibration

ANSWERED = 0.993
"""The share of held-out digits that keep the verdict `digit`."""


def calibrate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """logits [N, 10], labels [N]: the temperature of least negative log-likelihood, then the threshold for ANSWERED."""
    temperature = _temperature(torch.from_numpy(logits).double(), torch.from_numpy(labels))
    probabilities = Calibration(temperature=temperature).probabilities(logits)
    threshold = float(np.quantile(probabilities.max(axis=1), 1 - ANSWERED))
    return Calibration(temperature=round(temperature, 4), threshold=round(threshold, 4))


def _temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    logarithm = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logarithm], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        value = F.cross_entropy(logits / logarithm.exp(), labels)
        value.backward()
        return value.item()

    optimizer.step(loss)
    # A network without errors would be sharpened for ever.
    return float(logarithm.detach().exp().clamp(0.2, 20))
