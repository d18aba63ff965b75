import numpy as np
import pytest

from models.calibration import Calibration
from training.calibrating import ANSWERED, CONFIDENT, calibrate


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels are drawn from their own probabilities: calibrated as they are."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (5000, 10)).astype(np.float32)
    probabilities = Calibration().probabilities(logits)
    labels = (probabilities.cumsum(axis=1) > generator.random((5000, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_was_done_to_the_logits(factor: float, sample) -> None:
    logits, labels = sample
    assert calibrate(logits * np.float32(factor), labels).temperature == pytest.approx(factor, rel=0.1)


def test_the_threshold_keeps_the_share_that_is_wanted(sample) -> None:
    logits, labels = sample
    calibration = calibrate(logits, labels)
    probabilities = calibration.probabilities(logits)
    assert (probabilities.max(axis=1) >= calibration.threshold).mean() == pytest.approx(CONFIDENT, abs=0.001)
    assert calibration.certain(probabilities).mean() == pytest.approx(ANSWERED, abs=0.001)


def test_a_network_without_errors_is_not_sharpened_for_ever() -> None:
    logits = np.eye(10, dtype=np.float32)[np.arange(1000) % 10] * 5
    assert calibrate(logits, np.arange(1000) % 10).temperature >= 0.2
