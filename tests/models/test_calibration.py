import numpy as np
import pytest
from pydantic import ValidationError

from models.calibration import Calibration, evidence


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


def test_the_verdict_turns_at_the_threshold() -> None:
    rows = np.array([[confidence] + [(1 - confidence) / 9] * 9 for confidence in (0.69, 0.7)])
    assert Calibration(threshold=0.7).certain(rows).tolist() == [False, True]


def test_doubt_between_two_digits_is_no_digit_at_all() -> None:
    between_two, none = [0.5, 0.5] + [1e-9] * 8, [0.5] + [0.5 / 9] * 9
    rows = np.array([between_two, none])
    rows /= rows.sum(axis=1, keepdims=True)
    assert evidence(rows) == pytest.approx([np.log(0.5) - np.log(rows[0]).mean(), np.log(9) * 0.9], abs=0.01)
    assert Calibration(threshold=0.4, evidence=5).certain(rows).tolist() == [True, False]
    assert Calibration(threshold=0.6, evidence=5).certain(rows).tolist() == [False, False]


def test_certainty_itself_has_finite_evidence() -> None:
    assert np.isfinite(evidence(np.eye(10)[:1])).all()


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": -1}, {"threshold": 1.1}, {"evidence": -1}])
def test_nonsense_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Calibration(**fields)
