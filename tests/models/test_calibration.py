import numpy as np
import pytest
from pydantic import ValidationError

from models.calibration import Calibration


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
    calibration = Calibration(threshold=0.7)
    assert [calibration.verdict(confidence) for confidence in (0.69, 0.7)] == ["unsure", "digit"]


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"temperature": -1}, {"threshold": 1.1}])
def test_nonsense_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        Calibration(**fields)
