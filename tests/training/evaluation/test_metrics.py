import math

import numpy as np
import pytest

from training.evaluation import metrics


def answers(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Confidences with many ties, and answers that are right as often as these say."""
    generator = np.random.default_rng(0)
    confidences = np.round(generator.uniform(0.1, 1, count), 2)
    return confidences, generator.random(count) < confidences


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (9975, 10000, 0.9963, 0.9983)],
)
def test_the_interval_is_wilsons(successes: int, count: int, low: float, high: float) -> None:
    # The first is Newcombe's example of 1998, the others follow from the closed forms at 0 and 1.
    assert metrics.wilson(successes, count) == pytest.approx((low, high), abs=1e-4)


def test_likelihood_is_that_of_the_label_and_has_a_floor() -> None:
    probabilities = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75], [1, 0, 0]])
    found = metrics.negative_log_likelihood(probabilities, np.array([0, 1, 2]))
    assert found == pytest.approx((math.log(2) + math.log(4) + 12 * math.log(10)) / 3)


def test_area_counts_pairs_in_the_right_order_and_half_of_the_ties() -> None:
    confidences, right = answers()
    pairs = [(a > b) + 0.5 * (a == b) for a in confidences[right] for b in confidences[~right]]
    assert len(np.unique(confidences)) < len(confidences)
    assert metrics.auroc(confidences, right) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("right", [True, False])
def test_area_needs_right_and_wrong_answers(right: bool) -> None:
    assert metrics.auroc(np.array([0.2, 0.9]), np.array([right, right])) is None


def test_calibration_error_of_confidence_that_is_too_high() -> None:
    right = np.arange(1500) % 10 < 8
    assert metrics.calibration_error(np.full(1500, 0.95), right) == pytest.approx(0.15, abs=1e-9)


def test_bins_hold_equally_many_answers_by_rising_confidence() -> None:
    confidences, right = answers(307)
    bins = metrics.reliability(confidences, right)
    assert [count for _, _, count in bins] == [21] * 7 + [20] * 8
    assert [mean for mean, _, _ in bins] == sorted(mean for mean, _, _ in bins)
    assert sum(share * count for _, share, count in bins) == pytest.approx(right.sum())
    by_hand = sum(count * abs(mean - share) for mean, share, count in bins) / 307
    assert metrics.calibration_error(confidences, right) == pytest.approx(by_hand)


def test_fewer_answers_than_bins() -> None:
    assert metrics.calibration_error(np.array([0.5, 1.0]), np.array([True, True])) == pytest.approx(0.25)


def test_risk_at_each_threshold() -> None:
    confidences, right = answers()
    coverage, risk = metrics.risk_coverage(confidences, right)
    thresholds = np.unique(confidences)[::-1]
    assert coverage == pytest.approx([(confidences >= threshold).mean() for threshold in thresholds])
    assert risk == pytest.approx([(~right[confidences >= threshold]).mean() for threshold in thresholds])


def test_confusion_has_labels_in_rows() -> None:
    matrix = metrics.confusion(np.array([3, 3, 3, 5]), np.array([3, 8, 8, 5]))
    assert (matrix[3, 3], matrix[3, 8], matrix[5, 5], matrix.sum()) == (1, 2, 1, 4)
