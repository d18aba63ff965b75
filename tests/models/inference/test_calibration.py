import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.inference.calibration import Calibration, compared


def test_rows_sum_to_one_and_do_not_overflow() -> None:
    logits = np.array([[-1000.0, 0, 1000, 1, 2, 3, 4, 5, 6, 7], [0] * 10], np.float32)
    rows = Calibration().probabilities(logits)
    assert np.isfinite(rows).all()
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-12)
    assert rows[0].argmax() == 2
    assert np.allclose(rows[1], 0.1)


def test_a_higher_temperature_is_less_sure() -> None:
    logits = np.arange(10, dtype=np.float32)[None]
    sharp, soft = (Calibration(temperature=t).probabilities(logits).max() for t in (0.5, 2.0))
    assert soft < sharp


def sharpness(rows: NDArray[np.float32], **fields: float) -> NDArray[np.float64]:
    """By how many times the differences between logits are larger in the logarithms of their probabilities."""
    logarithms = np.log(Calibration(**fields).probabilities(rows))
    found: NDArray[np.float64] = np.ptp(logarithms, axis=1) / np.ptp(rows, axis=1)
    return found


def test_logits_are_divided_by_the_power_of_their_evidence() -> None:
    rows = np.array([[4.0, 3, *[0] * 8], [0.4, 0.3, *[0] * 8]], np.float32)
    _, evidence, _ = compared(rows)
    assert evidence == pytest.approx([3.3, 0.33])
    for power in (0, 0.5, 1, -0.3):
        assert sharpness(rows, temperature=2, power=power) == pytest.approx(1 / (2 * evidence**power))


def test_a_lead_over_the_second_sharpens_by_its_margin() -> None:
    rows = np.array([[9.0, 0, *[0] * 8], [9.0, 9.0, *[0] * 8]], np.float32)
    _, _, lead = compared(rows)
    assert lead == pytest.approx([9 / 8.1, 0])
    assert sharpness(rows, temperature=2, margin=0.5) == pytest.approx(np.exp(0.5 * lead) / 2)


def certain(rows: list[list[float]], **bounds: float) -> list[bool]:
    found: list[bool] = Calibration(**bounds).answers(np.array(rows, np.float32))[1].tolist()
    return found


def test_the_verdict_turns_at_the_threshold() -> None:
    rows = np.log([[confidence] + [(1 - confidence) / 9] * 9 for confidence in (0.69, 0.71)])
    assert certain(rows.tolist(), threshold=0.7) == [False, True]


def test_doubt_between_two_digits_is_no_digit_at_all() -> None:
    between_two, none = [10.0, 10.0, *[0.0] * 8], [2.0, *[0.0] * 9]
    assert compared(np.array([between_two, none], np.float32))[1] == pytest.approx([8, 1.8])
    assert certain([between_two, none], threshold=0.4, evidence=5) == [True, False]
    assert certain([between_two, none], threshold=0.6, evidence=5) == [False, False]


def test_the_bound_of_the_evidence_is_in_units_of_the_temperature() -> None:
    row = [4.0, *[0.0] * 9]
    assert certain([row], threshold=0, temperature=2, evidence=1.75) == [True]
    assert certain([row], threshold=0, temperature=2, evidence=1.85) == [False]


def test_logits_that_are_all_the_same_are_no_idea() -> None:
    rows = np.full((1, 10), 3, np.float32)
    calibration = Calibration(power=-0.7, margin=0.5, evidence=0.1)
    assert calibration.probabilities(rows) == pytest.approx(np.full((1, 10), 0.1))
    assert certain([[3.0] * 10], power=-0.7, margin=0.5, evidence=0.1) == [False]


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": -1}, {"threshold": 1.1}, {"evidence": -1}])
def test_nonsense_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Calibration(**fields)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": math.inf}, {"temperature": 0}, {"power": 1e308}, {"margin": -math.inf}, {"power": math.nan}],
)
def test_numbers_that_no_calibration_has_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Calibration(**wrong)


@pytest.mark.parametrize("power", [-40, 40])
@pytest.mark.parametrize("margin", [-40, 40])
def test_at_the_bounds_probabilities_are_still_numbers(power: float, margin: float) -> None:
    logits = np.array([[0] * 10, [50] + [0] * 9, [1, 1 - 1e-6] + [0] * 8], np.float32)
    rows = Calibration(power=power, margin=margin).probabilities(logits)
    assert rows.sum(axis=1) == pytest.approx(1)
