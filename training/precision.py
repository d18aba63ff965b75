"""Whether a network is compiled in int8: where it is no worse than the weights on held-out tiles, and else in float32.

Each answers by its own calibration. Int8 is no worse if

- on all digits and their copies together it is not significantly worse (one-sided exact McNemar test), and loses at
  most MARGIN of them, and the verdict `digit` for at most VERDICT_MARGIN;
- of the tiles of no digit it is not unsure of significantly fewer (the same test), nor of OUTLIER_MARGIN fewer.
"""

from typing import Any

from training.held_out import Measurement
from training.mcnemar import SIGNIFICANCE_LEVEL, Comparison, compare

MARGIN = 0.0005
VERDICT_MARGIN = 0.005
OUTLIER_MARGIN = 0.02


def objection(weights: Measurement, int8: Measurement) -> str | None:
    """The reason why int8 is worse, or None."""
    digits, outliers = compare(weights.right, int8.right), compare(weights.unsure, int8.unsure)
    if _worse(digits, MARGIN):
        return f"worse at digits: {_counts(digits)} right"
    if weights.answered - int8.answered > VERDICT_MARGIN:
        return f"sure of fewer digits: {int8.answered:.2%}, the weights of {weights.answered:.2%}"
    if _worse(outliers, OUTLIER_MARGIN):
        return f"unsure of fewer tiles without a digit: {_counts(outliers)}"
    return None


def summary(weights: Measurement, compiled: Measurement) -> dict[str, Any]:
    """What `objection` compares, for the manifest."""
    digits, outliers = compare(weights.right, compiled.right), compare(weights.unsure, compiled.unsure)
    return {
        "digits": {"tiles": digits.images, "lost": digits.lost, "won": digits.won},
        "answered": {"weights": round(weights.answered, 6), "compiled": round(compiled.answered, 6)},
        "outliers": {"tiles": outliers.images, "lost": outliers.lost, "won": outliers.won},
    }


def _worse(found: Comparison, margin: float) -> bool:
    return found.p_worse < SIGNIFICANCE_LEVEL or found.before - found.after > margin * found.images


def _counts(found: Comparison) -> str:
    return f"{found.after:,} of {found.images:,}, by the weights {found.before:,}"
