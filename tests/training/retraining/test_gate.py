import numpy as np
import pytest

from training.retraining.gate import Comparison, binomial_tail, compare, rejection

NOTHING = Comparison(0, 0, 0, 0, 0)
EVEN = Comparison(5000, 4975, 4975, 3, 3)


def split(images: int, active_right: int, lost: int, won: int) -> Comparison:
    return Comparison(images, active_right, active_right - lost + won, lost, won)


@pytest.mark.parametrize(
    "successes, trials, expected",
    [(0, 0, 1), (0, 7, 1), (5, 5, 1 / 32), (8, 10, 56 / 1024), (1, 1, 0.5), (3, 5, 0.5), (6, 5, 0)],
)
def test_the_binomial_tail_is_exact(successes: int, trials: int, expected: float) -> None:
    assert binomial_tail(successes, trials) == expected


def test_the_binomial_tail_of_many_trials_neither_overflows_nor_underflows() -> None:
    assert binomial_tail(2500, 5000) == pytest.approx(0.505642, abs=1e-6)
    assert 0 < binomial_tail(3000, 5000) < 1e-40


def test_a_comparison_counts_images_on_which_one_version_is_right() -> None:
    labels = np.array([0, 1, 2, 3, 4])
    found = compare(np.array([0, 1, 9, 9, 9]), np.array([0, 9, 2, 3, 9]), labels)
    assert found == Comparison(5, active_right=2, candidate_right=3, lost=1, won=2)
    assert found.p_better == 0.5
    assert found.p_worse == 0.875
    assert found.summary()["p_worse"] == 0.875


@pytest.mark.parametrize(
    "mnist, feedback, expected",
    [
        (EVEN, NOTHING, None),
        (split(5000, 4975, 5, 0), NOTHING, "significantly worse on held-out MNIST"),  # p = 1/32
        (split(5000, 4975, 4, 0), NOTHING, None),  # p = 1/16
        (split(5000, 4975, 25, 20), NOTHING, None),
        (split(5000, 4975, 46, 40), NOTHING, r"worse on held-out MNIST by more than 0.1%"),
        (EVEN, split(10, 8, 1, 0), "worse on held-out feedback: 7 of 10"),
        (EVEN, split(10, 8, 1, 1), None),
        (EVEN, split(49, 30, 0, 0), None),
        (EVEN, split(50, 30, 0, 0), "not significantly better on held-out feedback"),
        (EVEN, split(50, 30, 0, 4), "not significantly better"),  # p = 1/16
        (EVEN, split(50, 30, 0, 5), None),  # p = 1/32
        (EVEN, split(400, 40, 20, 45), "wrong on most of the held-out feedback: 65 of 400"),  # p = 0.001, random labels
        (EVEN, split(50, 5, 0, 20), None),
        (EVEN, split(50, 5, 0, 19), "wrong on most"),
        (EVEN, split(100, 99, 1, 1), None),  # the active version is good enough already
        (EVEN, split(100, 98, 1, 1), "not significantly better"),
        (EVEN, split(100, 99, 1, 0), "worse on held-out feedback"),
    ],
)
def test_which_candidates_are_rejected(mnist: Comparison, feedback: Comparison, expected: str | None) -> None:
    reason = rejection(mnist, feedback)
    assert (reason is None) == (expected is None)
    assert expected is None or expected in str(reason)
