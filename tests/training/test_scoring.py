import math

import numpy as np
import pytest
import torch

from models.inference import networks
from models.inference.calibration import Calibration
from models.inference.torch_predictor import TorchPredictor
from training import scoring


def test_scores_agree_with_single_predictions() -> None:
    torch.manual_seed(0)
    predictor = TorchPredictor(networks.create("net"), Calibration(threshold=0.11), "v1")
    generator = np.random.default_rng(0)
    tiles = generator.integers(0, 256, (1203, 28, 28), dtype=np.uint8)
    labels = generator.integers(0, 10, 1203)
    found = scoring.score(predictor.calibration, scoring.logits_of(predictor, tiles), labels)

    single = [predictor.predict(tile[None])[0] for tile in tiles]
    right = [prediction.digit == label for prediction, label in zip(single, labels, strict=True)]
    likelihood = [prediction.probabilities[label] for prediction, label in zip(single, labels, strict=True)]
    assert found["images"] == 1203
    assert abs(found["accuracy"] - np.mean(right)) < 1e-3
    assert abs(found["negative_log_likelihood"] + np.log(likelihood).mean()) < 1e-3
    assert abs(found["answered"] - np.mean([prediction.verdict == "digit" for prediction in single])) < 2e-3


def test_the_likelihood_of_a_label_has_a_floor() -> None:
    probabilities = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]])
    found = scoring.negative_log_likelihood(probabilities, np.array([0, 1, 2]))
    assert found == pytest.approx((math.log(2) + math.log(4) + 12 * math.log(10)) / 3)
