"""Metrics of answers to labelled digits."""

import numpy as np
from numpy.typing import NDArray

from models.inference.calibration import Calibration
from models.inference.predictor import Predictor, Tiles

BATCH = 100
"""Larger ones leave the cache of a core: 500 take a fifth more time an image."""


def logits_of(predictor: Predictor, tiles: Tiles) -> NDArray[np.float32]:
    """[N, 10], by the forward pass that the service uses."""
    return np.concatenate([predictor.logits(tiles[i : i + BATCH]) for i in range(0, len(tiles), BATCH)])


def negative_log_likelihood(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean over rows [N, 10], in nats; probabilities below 1e-12 count as 1e-12."""
    likelihoods = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(likelihoods.clip(1e-12)).mean())


def score(calibration: Calibration, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float | int]:
    """Accuracy, negative log-likelihood, and the share of answers with verdict `digit`."""
    probabilities, certain = calibration.answers(logits)
    return {
        "images": len(labels),
        "accuracy": round(float((probabilities.argmax(axis=1) == labels).mean()), 6),
        "negative_log_likelihood": round(negative_log_likelihood(probabilities, labels), 6),
        "answered": round(float(certain.mean()), 6),
    }
