"""Fits a calibration to held-out logits."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.calibration import Calibration, evidence

CONFIDENT, ANSWERED = 0.996, 0.9915
"""The shares of held-out digits that have confidence enough, and that keep the verdict `digit`."""


def calibrate(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """logits [N, 10], labels [N]: the temperature of least negative log-likelihood, then the bounds of the verdict."""
    temperature = round(_temperature(torch.from_numpy(logits).double(), torch.from_numpy(labels)), 4)
    probabilities = Calibration(temperature=temperature).probabilities(logits)
    confidences = probabilities.max(axis=1)
    threshold = float(np.quantile(confidences, 1 - CONFIDENT))
    confident = evidence(probabilities)[confidences >= threshold]
    bound = float(np.quantile(confident, 1 - ANSWERED / CONFIDENT))
    return Calibration(temperature=temperature, threshold=_down(threshold), evidence=_down(bound))


def _down(value: float) -> float:
    return math.floor(value * 1e4) / 1e4


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
