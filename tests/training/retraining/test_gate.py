import pytest

from training.mcnemar import Comparison
from training.retraining.gate import rejection, summary

NOTHING = Comparison(0, 0, 0, 0, 0)
EVEN = Comparison(5000, 4975, 4975, 3, 3)


def split(images: int, active_right: int, lost: int, won: int) -> Comparison:
    return Comparison(images, active_right, active_right - lost + won, lost, won)


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


def test_the_summary_has_the_counts_and_both_tests() -> None:
    found = summary(split(5, 2, lost=1, won=2))
    counts = {"images": 5, "active_right": 2, "candidate_right": 3, "lost": 1, "won": 2}
    assert found == {**counts, "p_worse": 0.875, "p_better": 0.5}
