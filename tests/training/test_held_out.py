import numpy as np
import pytest
import torch

from models.inference import networks
from models.inference.calibration import Calibration
from models.inference.torch_predictor import TorchPredictor
from training import held_out
from training.data.mnist import Digits
from training.held_out import HeldOut, measure


@pytest.fixture(autouse=True)
def few_outliers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes seconds."""
    monkeypatch.setattr(held_out, "OUTLIERS", 28)


@pytest.fixture
def tiles(training_digits: Digits) -> HeldOut:
    return HeldOut.draw(training_digits[torch.arange(300)])


def test_the_same_digits_give_the_same_tiles(tiles: HeldOut, training_digits: Digits) -> None:
    again = HeldOut.draw(training_digits[torch.arange(300)])
    for one, other in ((tiles.damaged, again.damaged), *zip(tiles.distorted, again.distorted, strict=True)):
        assert one.fingerprint() == other.fingerprint() != tiles.digits.fingerprint()
    assert np.array_equal(tiles.outliers, again.outliers)
    assert len(tiles.distorted) == held_out.COPIES


def test_a_predictor_is_calibrated_on_the_digits_and_on_their_distorted_copies(tiles: HeldOut) -> None:
    torch.manual_seed(0)
    predictor = TorchPredictor(networks.create("net"), Calibration(), "v1")
    plain = measure(predictor, HeldOut(tiles.digits, [], tiles.damaged, tiles.outliers)).predictor.calibration
    copied = measure(predictor, tiles).predictor.calibration
    assert plain.threshold != Calibration().threshold
    assert copied.temperature != plain.temperature


def test_a_measurement_agrees_with_single_predictions(tiles: HeldOut) -> None:
    torch.manual_seed(0)
    found = measure(TorchPredictor(networks.create("net"), Calibration(), "v1"), tiles)
    parts = (tiles.digits, *tiles.distorted, tiles.damaged)
    single = [found.predictor.predict(image[None])[0] for part in parts for image in part.images.numpy()]
    labels = np.tile(tiles.digits.labels, len(parts))
    assert np.mean([one.digit == label for one, label in zip(single, labels, strict=True)] == found.right) > 0.998
    assert found.answered == pytest.approx(np.mean([one.verdict == "digit" for one in single]), abs=2e-3)
    assert found.metrics["accuracy"] == pytest.approx(found.right[:300].mean(), abs=1e-6)
