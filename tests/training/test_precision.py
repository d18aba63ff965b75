import numpy as np
import pytest

from models.inference import networks
from models.inference.calibration import Calibration
from models.inference.torch_predictor import TorchPredictor
from training.held_out import Measurement
from training.precision import objection, summary

TILES, OUTLIERS = 20_000, 400


def measurement(right: int = 19_800, answered: float = 0.98, unsure: int = 380, last: bool = False) -> Measurement:
    """last: it is right about, and unsure of, the last tiles instead of the first."""
    flags = [np.arange(tiles) < count for tiles, count in ((TILES, right), (OUTLIERS, unsure))]
    digits, outliers = (flag[::-1] if last else flag for flag in flags)
    predictor = TorchPredictor(networks.create("net"), Calibration(), "v1")
    return Measurement(predictor, {}, digits, answered, outliers)


@pytest.mark.parametrize(
    "int8, expected",
    [
        (measurement(), None),
        (measurement(19_796), None),  # p = 1/16
        (measurement(19_795), "worse at digits: 19,795 of 20,000, by the weights 19,800"),  # p = 1/32
        (measurement(19_900), None),
        (measurement(19_790, last=True), None),
        (measurement(19_789, last=True), "worse at digits"),  # 0.055 points, p = 0.3
        (measurement(answered=0.9751), None),
        (measurement(answered=0.9749), "sure of fewer digits: 97.49%, the weights of 98.00%"),
        (measurement(unsure=376), None),
        (measurement(unsure=375), "unsure of fewer tiles without a digit: 375 of 400, by the weights 380"),
        (measurement(unsure=390), None),
        (measurement(unsure=372, last=True), None),
        (measurement(unsure=371, last=True), "unsure of fewer tiles"),  # 2.25 points, p = 0.1
    ],
)
def test_when_int_8_is_worse(int8: Measurement, expected: str | None) -> None:
    reason = objection(measurement(), int8)
    assert (reason is None) == (expected is None)
    assert expected is None or expected in str(reason)


def test_the_summary_counts_what_int_8_loses_and_wins() -> None:
    assert summary(measurement(), measurement(19_790, answered=0.97, unsure=376, last=True)) == {
        "digits": {"tiles": TILES, "lost": 210, "won": 200},
        "answered": {"weights": 0.98, "compiled": 0.97},
        "outliers": {"tiles": OUTLIERS, "lost": 24, "won": 20},
    }
