"""The exact McNemar test of two models on the same images.

Only the images on which exactly one of the two is right tell them apart. The test (McNemar 1947) gives the probability
of such a split if neither is better. It is exact, as these images are few, and our own, as the serving image has no
SciPy.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE_LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """Counts of images. before, after: the first, or the second model is right; lost, won: the one alone is."""

    images: int
    before: int
    after: int
    lost: int
    won: int

    @property
    def p_worse(self) -> float:
        """p-value of the test that the second model is worse."""
        return binomial_tail(self.lost, self.lost + self.won)

    @property
    def p_better(self) -> float:
        """p-value of the test that the second model is better."""
        return binomial_tail(self.won, self.lost + self.won)


def compare(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Comparison:
    """Compares two models by whether each is right about an image [N]."""
    return Comparison(
        images=len(before),
        before=int(before.sum()),
        after=int(after.sum()),
        lost=int((before & ~after).sum()),
        won=int((after & ~before).sum()),
    )


def binomial_tail(successes: int, trials: int) -> float:
    """The probability of at least `successes` heads in `trials` throws of a fair coin, computed with whole numbers."""
    return float(Fraction(sum(comb(trials, k) for k in range(successes, trials + 1)), 2**trials))
