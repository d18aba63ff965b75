import numpy as np
import pytest

from training.mcnemar import Comparison, binomial_tail, compare


@pytest.mark.parametrize(
    "successes, trials, expected",
    [(0, 0, 1), (0, 7, 1), (5, 5, 1 / 32), (8, 10, 56 / 1024), (1, 1, 0.5), (3, 5, 0.5), (6, 5, 0)],
)
def test_the_binomial_tail_is_exact(successes: int, trials: int, expected: float) -> None:
    assert binomial_tail(successes, trials) == expected


def test_the_binomial_tail_of_many_trials_neither_overflows_nor_underflows() -> None:
    assert binomial_tail(2500, 5000) == pytest.approx(0.505642, abs=1e-6)
    assert 0 < binomial_tail(3000, 5000) < 1e-40


def test_a_comparison_counts_images_on_which_one_model_alone_is_right() -> None:
    found = compare(np.array([1, 1, 0, 0, 0], bool), np.array([1, 0, 1, 1, 0], bool))
    assert found == Comparison(5, before=2, after=3, lost=1, won=2)
    assert found.p_better == 0.5
    assert found.p_worse == 0.875
