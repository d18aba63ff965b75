import numpy as np
import pytest

from models.inference.calibration import Calibration
from training.calibrate import ANSWERED, CONFIDENT, calibrate


@pytest.fixture
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Logits whose labels are drawn from their own probabilities: calibrated as they are."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (5000, 10)).astype(np.float32)
    probabilities = Calibration().probabilities(logits)
    labels = (probabilities.cumsum(axis=1) > generator.random((5000, 1))).argmax(axis=1)
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_calibration_undoes_a_scaling_of_the_logits(factor: float, sample) -> None:
    logits, labels = sample
    calibration = calibrate(logits * np.float32(factor), labels)
    found, meant = calibration.probabilities(logits * np.float32(factor)), Calibration().probabilities(logits)
    assert np.abs(found - meant).mean() < 0.01
    assert np.abs(found - meant).max() < 0.1


def test_flat_logits_get_the_confidence_that_they_deserve(sample) -> None:
    """One half of the digits came with flat logits, though nothing but their size tells them from the others."""
    logits, labels = sample
    flat = np.arange(len(logits)) % 2 == 0
    bent = logits * np.where(flat, 0.25, 1).astype(np.float32)[:, None]
    likelihoods = {}
    for name, calibration in (("own", calibrate(bent, labels)), ("one", Calibration(temperature=0.5))):
        likelihoods[name] = -np.log(calibration.probabilities(bent)[np.arange(len(labels)), labels]).mean()
    assert calibrate(bent, labels).power > 0.2
    assert likelihoods["own"] < likelihoods["one"] - 0.02


def test_the_thresholds_keep_the_intended_shares(sample) -> None:
    logits, labels = sample
    calibration = calibrate(logits, labels)
    probabilities, certain = calibration.answers(logits)
    assert (probabilities.max(axis=1) >= calibration.threshold).mean() == pytest.approx(CONFIDENT, abs=0.001)
    assert certain.mean() == pytest.approx(ANSWERED, abs=0.001)


def test_distorted_copies_change_temperatures_and_not_thresholds(sample) -> None:
    logits, labels = sample
    plain, sober = calibrate(logits, labels), calibrate(logits, labels, [logits[::-1].copy()])  # mostly misread
    assert sober.temperature > 1.5 * plain.temperature
    _, certain = sober.answers(logits)
    assert certain.mean() == pytest.approx(ANSWERED, abs=0.001)


def test_a_network_without_errors_keeps_a_finite_temperature() -> None:
    logits = np.eye(10, dtype=np.float32)[np.arange(1000) % 10] * 5
    probabilities = calibrate(logits, np.arange(1000) % 10).probabilities(logits)
    assert np.log(probabilities.max() / probabilities.min()) < 5 / 0.2
