"""Fits a calibration to held-out logits."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.inference.calibration import Calibration, evidence_and_margin

CONFIDENT, ANSWERED = 0.996, 0.9935
"""Shares of held-out digits that reach the confidence threshold, and that get the verdict `digit`."""

_RIDGE = 1e-5
"""Keeps the temperature of a network without errors from falling to 0."""


def calibrate(
    logits: NDArray[np.float32], labels: NDArray[np.int64], distorted: Sequence[NDArray[np.float32]] = ()
) -> Calibration:
    """Fits the temperatures by negative log-likelihood, then the verdict's thresholds.

    logits [N, 10], labels [N]. distorted: logits [N, 10] of distorted copies, used for the temperatures alone.
    """
    fitted = _fitted(np.concatenate([logits, *distorted]), np.tile(labels, 1 + len(distorted)))
    _, evidence, _ = evidence_and_margin(logits)
    confidences = fitted.probabilities(logits).max(axis=1)
    threshold = float(np.quantile(confidences, 1 - CONFIDENT))
    confident = evidence[confidences >= threshold] / fitted.temperature
    bound = float(np.quantile(confident, 1 - ANSWERED / CONFIDENT))
    return fitted.model_copy(update={"threshold": _down(threshold), "evidence": _down(bound)})


def _down(value: float) -> float:
    return math.floor(value * 1e4) / 1e4


def _fitted(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """The temperatures, with default thresholds."""
    _, evidence, margin = evidence_and_margin(logits)
    rows, classes = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    columns = torch.from_numpy(np.stack([np.ones_like(margin), np.log(evidence), -margin], axis=1))
    parameters = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        temperatures = (columns @ parameters).exp()
        value = F.cross_entropy(rows / temperatures[:, None], classes) + _RIDGE * parameters.square().sum()
        value.backward()
        return value.item()

    optimizer.step(loss)
    logarithm, power, margin_weight = parameters.tolist()
    temperature = float(f"{math.exp(logarithm):.4g}")  # four digits, as an untrained network has a tiny one
    return Calibration(temperature=temperature, power=round(power, 4), margin_weight=round(margin_weight, 4))
