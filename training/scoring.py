"""A predictor's metrics on labelled digits."""

import numpy as np
from numpy.typing import NDArray

from models.inference.predictor import Predictor
from training.data.mnist import Digits

BATCH = 500


def logits_of(predictor: Predictor, digits: Digits) -> NDArray[np.float32]:
    """[N, 10], by the forward pass that the service uses."""
    tiles = digits.images.numpy()
    return np.concatenate([predictor.logits(tiles[i : i + BATCH]) for i in range(0, len(tiles), BATCH)])


def score(predictor: Predictor, digits: Digits) -> dict[str, float | int]:
    """Accuracy, negative log-likelihood in nats, and the share of answers with verdict `digit`."""
    labels = digits.labels.numpy()
    probabilities, certain = predictor.calibration.answers(logits_of(predictor, digits))
    likelihoods = probabilities[np.arange(len(labels)), labels]
    return {
        "images": len(labels),
        "accuracy": round(float((probabilities.argmax(axis=1) == labels).mean()), 6),
        "negative_log_likelihood": round(float(-np.log(likelihoods.clip(1e-12)).mean()), 6),
        "answered": round(float(certain.mean()), 6),
    }
