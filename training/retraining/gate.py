"""Decides whether a candidate may replace the active version, on data that neither was trained on."""

from typing import Any

from training.mcnemar import SIGNIFICANCE_LEVEL, Comparison

MNIST_MARGIN = 0.001
"""How much accuracy on held-out MNIST a candidate may lose."""
MIN_FEEDBACK = 50
"""Held-out feedback images from which on a candidate must be significantly better."""
GOOD_ACCURACY = 0.99
"""Accuracy of the active version on held-out feedback from which on a candidate need not be better."""
MIN_ACCURACY = 0.5
"""Accuracy that a candidate needs on MIN_FEEDBACK held-out images or more: the test alone would let one set of random
labels in twenty pass."""


def rejection(mnist: Comparison, feedback: Comparison) -> str | None:
    """The reason why the candidate may not replace the active version, or None if it may."""
    if mnist.p_worse < SIGNIFICANCE_LEVEL:
        return f"significantly worse on held-out MNIST: {_counts(mnist)}, p = {mnist.p_worse:.2g}"
    if mnist.before - mnist.after > MNIST_MARGIN * mnist.images:
        return f"worse on held-out MNIST by more than {MNIST_MARGIN:.1%}: {_counts(mnist)}"
    if feedback.after < feedback.before:
        return f"worse on held-out feedback: {_counts(feedback)}"
    if feedback.images < MIN_FEEDBACK:
        return None
    if feedback.after < MIN_ACCURACY * feedback.images:
        return f"wrong on most of the held-out feedback: {_counts(feedback)}; check that its labels match its images"
    if feedback.before < GOOD_ACCURACY * feedback.images and feedback.p_better >= SIGNIFICANCE_LEVEL:
        return f"not significantly better on held-out feedback: {_counts(feedback)}, p = {feedback.p_better:.2g}"
    return None


def summary(found: Comparison) -> dict[str, Any]:
    """The comparison as the job's metrics have it."""
    return {
        "images": found.images,
        "active_right": found.before,
        "candidate_right": found.after,
        "lost": found.lost,
        "won": found.won,
        "p_worse": round(found.p_worse, 6),
        "p_better": round(found.p_better, 6),
    }


def _counts(found: Comparison) -> str:
    return f"{found.after:,} of {found.images:,} right, the active version {found.before:,}"
