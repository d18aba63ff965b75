import numpy as np
import pytest

from training.evaluation import metrics


def answers(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated confidences with many ties, and which answers are correct."""
    generator = np.random.default_rng(0)
    confidences = np.round(generator.uniform(0.1, 1, count), 2)
    return confidences, generator.random(count) < confidences


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (9975, 10000, 0.9963, 0.9983)],
)
def test_the_interval_of_a_proportion_is_that_of_wilson(successes: int, count: int, low: float, high: float) -> None:
    # The first is an example of Newcombe 1998, the others follow from closed forms.
    assert metrics.wilson_interval(successes, count) == pytest.approx((low, high), abs=1e-4)


def test_auroc_is_the_share_of_ordered_pairs_with_ties_as_half() -> None:
    confidences, correct = answers()
    pairs = [(a > b) + 0.5 * (a == b) for a in confidences[correct] for b in confidences[~correct]]
    assert len(np.unique(confidences)) < len(confidences)
    assert metrics.auroc(confidences, correct) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("correct", [True, False])
def test_auroc_is_none_without_both_correct_and_wrong_answers(correct: bool) -> None:
    assert metrics.auroc(np.array([0.2, 0.9]), np.array([correct, correct])) is None


def test_the_calibration_error_of_overconfident_answers() -> None:
    correct = np.arange(1500) % 10 < 8
    assert metrics.calibration_error(np.full(1500, 0.95), correct) == pytest.approx(0.15, abs=1e-9)


def test_the_calibration_error_has_bins_of_equal_mass_by_rising_confidence() -> None:
    confidences, correct = answers(307)
    bins = np.split(np.argsort(confidences, kind="stable"), np.cumsum([21] * 7 + [20] * 7))
    expected = sum(abs((confidences[chosen] - correct[chosen]).sum()) for chosen in bins) / 307
    assert metrics.calibration_error(confidences, correct) == pytest.approx(expected)


def test_fewer_answers_than_bins_have_a_bin_each() -> None:
    assert metrics.calibration_error(np.array([0.5, 1.0]), np.array([True, True])) == pytest.approx(0.25)


def test_risk_and_coverage_at_each_threshold() -> None:
    confidences, correct = answers()
    coverage, risk = metrics.risk_coverage(confidences, correct)
    thresholds = np.unique(confidences)[::-1]
    assert coverage == pytest.approx([(confidences >= threshold).mean() for threshold in thresholds])
    assert risk == pytest.approx([(~correct[confidences >= threshold]).mean() for threshold in thresholds])
