"""Decides whether a candidate may replace the active version, on data that neither was trained on.

Both versions answer the same images, so only the images on which exactly one is right tell them apart. The exact
one-sided McNemar test (McNemar 1947) gives the probability of such a split if neither version is better. It is exact,
as these images are few, and our own, as the serving image has no SciPy.
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNIFICANCE_LEVEL = 0.05
MNIST_MARGIN = 0.001
"""How much accuracy on held-out MNIST a candidate may lose."""
MIN_FEEDBACK = 50
"""Held-out feedback images from which on a candidate must be significantly better."""
GOOD_ACCURACY = 0.99
"""Accuracy of the active version on held-out feedback from which on a candidate need not be better."""
MIN_ACCURACY = 0.5
"""Accuracy that a candidate needs on MIN_FEEDBACK held-out images or more: the test alone would let one set of random
labels in twenty pass."""


@dataclass(frozen=True)
class Comparison:
    """Counts of two versions on the same images.

    lost: only the active version is right; won: only the candidate is right.
    """

    images: int
    active_right: int
    candidate_right: int
    lost: int
    won: int

    @property
    def p_worse(self) -> float:
        """p-value of the test that the candidate is worse."""
        return binomial_tail(self.lost, self.lost + self.won)

    @property
    def p_better(self) -> float:
        """p-value of the test that the candidate is better."""
        return binomial_tail(self.won, self.lost + self.won)

    def summary(self) -> dict[str, Any]:
        return {**asdict(self), "p_worse": round(self.p_worse, 6), "p_better": round(self.p_better, 6)}


def compare(active: NDArray[np.int64], candidate: NDArray[np.int64], labels: NDArray[np.int64]) -> Comparison:
    """Compares the answers of two versions [N] with the labels [N]."""
    before, after = active == labels, candidate == labels
    return Comparison(
        images=len(labels),
        active_right=int(before.sum()),
        candidate_right=int(after.sum()),
        lost=int((before & ~after).sum()),
        won=int((after & ~before).sum()),
    )


def binomial_tail(successes: int, trials: int) -> float:
    """The probability of at least `successes` heads in `trials` throws of a fair coin, computed with whole numbers."""
    return float(Fraction(sum(comb(trials, k) for k in range(successes, trials + 1)), 2**trials))


def rejection(mnist: Comparison, feedback: Comparison) -> str | None:
    """The reason why the candidate may not replace the active version, or None if it may."""
    if mnist.p_worse < SIGNIFICANCE_LEVEL:
        return f"significantly worse on held-out MNIST: {_counts(mnist)}, p = {mnist.p_worse:.2g}"
    if mnist.active_right - mnist.candidate_right > MNIST_MARGIN * mnist.images:
        return f"worse on held-out MNIST by more than {MNIST_MARGIN:.1%}: {_counts(mnist)}"
    if feedback.candidate_right < feedback.active_right:
        return f"worse on held-out feedback: {_counts(feedback)}"
    if feedback.images < MIN_FEEDBACK:
        return None
    if feedback.candidate_right < MIN_ACCURACY * feedback.images:
        return f"wrong on most of the held-out feedback: {_counts(feedback)}; check that its labels match its images"
    if feedback.active_right < GOOD_ACCURACY * feedback.images and feedback.p_better >= SIGNIFICANCE_LEVEL:
        return f"not significantly better on held-out feedback: {_counts(feedback)}, p = {feedback.p_better:.2g}"
    return None


def _counts(found: Comparison) -> str:
    return f"{found.candidate_right:,} of {found.images:,} right, the active version {found.active_right:,}"
