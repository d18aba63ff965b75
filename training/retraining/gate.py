"""Whether a candidate may take over from the active version, on data that neither was trained on.

Both answer the same images, so what counts is where they differ: the exact McNemar test asks how likely so one-sided a
split of those images is when neither is better (McNemar 1947; exact, as there are few of them).
"""

from dataclasses import asdict, dataclass
from fractions import Fraction
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT = 0.05
MARGIN = 0.001
"""By how much of all held-out MNIST digits a candidate may be worse, at most."""
ENOUGH = 50
"""Held-out corrections from which on the candidate has to be significantly better."""
GOOD = 0.99
"""...unless the active version is that right there already."""
LEARNED = 0.5
"""What a candidate has to get right of so many held-out corrections: it learned from the others of the same hands. By
chance alone one in twenty with random labels would pass as significantly better."""


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same images. lost: the active one alone is right; won: the candidate alone is."""

    images: int
    active_right: int
    candidate_right: int
    lost: int
    won: int

    @property
    def p_worse(self) -> float:
        """How likely it is to lose so many images, or more, if neither is better."""
        return tail(self.lost, self.lost + self.won)

    @property
    def p_better(self) -> float:
        """How likely it is to win so many images, or more, if neither is better."""
        return tail(self.won, self.lost + self.won)

    def figures(self) -> dict[str, Any]:
        return {**asdict(self), "p_worse": round(self.p_worse, 6), "p_better": round(self.p_better, 6)}


def compare(active: NDArray[np.int64], candidate: NDArray[np.int64], labels: NDArray[np.int64]) -> Comparison:
    """What each read [N], and what is right [N]."""
    before, after = active == labels, candidate == labels
    return Comparison(
        len(labels), int(before.sum()), int(after.sum()), int((before & ~after).sum()), int((after & ~before).sum())
    )


def tail(successes: int, trials: int) -> float:
    """The chance of at least that many heads in that many throws of a fair coin, in whole numbers to the last."""
    return float(Fraction(sum(comb(trials, k) for k in range(successes, trials + 1)), 2**trials))


def refusal(mnist: Comparison, feedback: Comparison) -> str | None:
    """Why the candidate may not take over; None when it may."""
    if mnist.p_worse < SIGNIFICANT:
        return f"significantly worse on held-out MNIST: {_said(mnist)}, p = {mnist.p_worse:.2g}"
    if mnist.active_right - mnist.candidate_right > MARGIN * mnist.images:
        return f"worse on held-out MNIST by more than {MARGIN:.1%}: {_said(mnist)}"
    if feedback.candidate_right < feedback.active_right:
        return f"worse on held-out feedback: {_said(feedback)}"
    if feedback.images >= ENOUGH and feedback.candidate_right < LEARNED * feedback.images:
        return f"wrong in most of the held-out feedback: {_said(feedback)}; do its labels fit its pictures?"
    enough = feedback.images >= ENOUGH and feedback.active_right < GOOD * feedback.images
    if enough and feedback.p_better >= SIGNIFICANT:
        return f"not significantly better on held-out feedback: {_said(feedback)}, p = {feedback.p_better:.2g}"
    return None


def _said(found: Comparison) -> str:
    return f"{found.candidate_right:,} of {found.images:,} right, the active version {found.active_right:,}"
