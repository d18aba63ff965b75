import math

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from models.inference.calibration import Calibration, evidence_and_margin


def test_rows_sum_to_one_and_do_not_overflow() -> None:
    logits = np.array([[-1000.0, 0, 1000, 1, 2, 3, 4, 5, 6, 7], [0] * 10], np.float32)
    rows = Calibration().probabilities(logits)
    assert np.isfinite(rows).all()
    assert np.allclose(rows.sum(axis=1), 1, atol=1e-12)
    assert rows[0].argmax() == 2
    assert np.allclose(rows[1], 0.1)


def test_a_higher_temperature_lowers_the_confidence() -> None:
    logits = np.arange(10, dtype=np.float32)[None]
    sharp, soft = (Calibration(temperature=t).probabilities(logits).max() for t in (0.5, 2.0))
    assert soft < sharp


def sharpness(rows: NDArray[np.float32], **fields: float) -> NDArray[np.float64]:
    """The factor by which the calibration scales the differences between logits: one over the temperature."""
    logarithms = np.log(Calibration(**fields).probabilities(rows))
    found: NDArray[np.float64] = np.ptp(logarithms, axis=1) / np.ptp(rows, axis=1)
    return found


def test_logits_are_divided_by_a_power_of_the_evidence() -> None:
    rows = np.array([[4.0, 3, *[0] * 8], [0.4, 0.3, *[0] * 8]], np.float32)
    _, evidence, _ = evidence_and_margin(rows)
    assert evidence == pytest.approx([3.3, 0.33])
    for power in (0, 0.5, 1, -0.3):
        assert sharpness(rows, temperature=2, power=power) == pytest.approx(1 / (2 * evidence**power))


def test_a_margin_over_the_second_sharpens_by_its_weight() -> None:
    rows = np.array([[9.0, 0, *[0] * 8], [9.0, 9.0, *[0] * 8]], np.float32)
    _, _, margin = evidence_and_margin(rows)
    assert margin == pytest.approx([9 / 8.1, 0])
    assert sharpness(rows, temperature=2, margin_weight=0.5) == pytest.approx(np.exp(0.5 * margin) / 2)


def is_digit(rows: list[list[float]], **bounds: float) -> list[bool]:
    found: list[bool] = Calibration(**bounds).answers(np.array(rows, np.float32))[1].tolist()
    return found


def test_the_verdict_turns_at_the_threshold() -> None:
    rows = np.log([[confidence] + [(1 - confidence) / 9] * 9 for confidence in (0.69, 0.71)])
    assert is_digit(rows.tolist(), threshold=0.7) == [False, True]


def test_evidence_is_high_between_two_digits_and_low_for_no_digit() -> None:
    between_two, none = [10.0, 10.0, *[0.0] * 8], [2.0, *[0.0] * 9]
    assert evidence_and_margin(np.array([between_two, none], np.float32))[1] == pytest.approx([8, 1.8])
    assert is_digit([between_two, none], threshold=0.4, evidence=5) == [True, False]
    assert is_digit([between_two, none], threshold=0.6, evidence=5) == [False, False]


def test_the_evidence_bound_scales_with_the_temperature() -> None:
    row = [4.0, *[0.0] * 9]
    assert is_digit([row], threshold=0, temperature=2, evidence=1.75) == [True]
    assert is_digit([row], threshold=0, temperature=2, evidence=1.85) == [False]


def test_equal_logits_give_equal_probabilities_and_unsure() -> None:
    rows = np.full((1, 10), 3, np.float32)
    calibration = Calibration(power=-0.7, margin_weight=0.5, evidence=0.1)
    assert calibration.probabilities(rows) == pytest.approx(np.full((1, 10), 0.1))
    assert is_digit([[3.0] * 10], power=-0.7, margin_weight=0.5, evidence=0.1) == [False]


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": -1}, {"threshold": 1.1}, {"evidence": -1}])
def test_a_field_out_of_range_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Calibration(**fields)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": math.inf},
        {"temperature": 0},
        {"power": 1e308},
        {"margin_weight": -math.inf},
        {"power": math.nan},
    ],
)
def test_numbers_outside_the_bounds_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Calibration(**wrong)


@pytest.mark.parametrize("power", [-40, 40])
@pytest.mark.parametrize("margin_weight", [-40, 40])
def test_probabilities_are_finite_at_the_bounds(power: float, margin_weight: float) -> None:
    logits = np.array([[0] * 10, [50] + [0] * 9, [1, 1 - 1e-6] + [0] * 8], np.float32)
    rows = Calibration(power=power, margin_weight=margin_weight).probabilities(logits)
    assert rows.sum(axis=1) == pytest.approx(1)


def test_a_manifest_of_an_earlier_release_calls_the_weight_margin() -> None:
    earlier = Calibration.model_validate_json('{"temperature": 0.3658, "margin": 0.2574}')
    assert earlier.margin_weight == 0.2574
    assert "margin_weight" in earlier.model_dump() and "margin" not in earlier.model_dump()
    assert Calibration.model_validate_json(earlier.model_dump_json()) == earlier


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 0.7, "power": 1.1, "margin_weight": 0.4, "threshold": 0.8, "evidence": 3},
        {"temperature": 2, "power": -40, "margin_weight": -40},
        {"power": 40, "margin_weight": 40, "threshold": 0.1},
    ],
)
def test_one_image_is_answered_as_many_are(fields: dict[str, float]) -> None:
    random = np.random.default_rng(0)
    rows = [random.normal(0, scale, (50, 10)) for scale in (1e-9, 0.1, 4, 100, 1e30)]
    logits = np.concatenate([*rows, np.zeros((1, 10)), [[1.0] * 2 + [0.0] * 8]]).astype(np.float32)
    calibration = Calibration(**fields)
    with np.errstate(all="ignore"):
        probabilities, is_digit = calibration.answers(logits)
        found = [calibration.answer(row) for row in logits.tolist()]
    assert np.allclose([one for one, _ in found], probabilities, rtol=1e-9, atol=1e-12, equal_nan=True)
    assert [verdict for _, verdict in found] == is_digit.tolist()
