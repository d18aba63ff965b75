"""What answers are worth: accuracy, calibration, and whether confidence tells right from wrong.

`confidences` are those of the answers given, float64 [N] in 0..1; `right` is bool [N]. Figures that no data could
give are None.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Labels = NDArray[np.int64]

BINS = 15


def wilson(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), which keeps to 0..1 and is right for shares near 1."""
    z = 1.959964
    share = successes / count
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """In nats, the mean over rows [N, 10]; a probability below 1e-12 counts as that."""
    likelihoods = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(likelihoods.clip(1e-12)).mean())


def reliability(confidences: Floats, right: Flags, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Equal-mass bins by rising confidence: (mean confidence, share right, answers) of each."""
    order = np.argsort(confidences, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return [(float(confidences[part].mean()), float(right[part].mean()), len(part)) for part in parts]


def calibration_error(confidences: Floats, right: Flags, bins: int = BINS) -> float:
    """Adaptive: the mean distance of confidence and share right over equal-mass bins (Nixon et al. 2019)."""
    gaps = (abs(confidence - share) * count for confidence, share, count in reliability(confidences, right, bins))
    return sum(gaps) / len(right)


def auroc(confidences: Floats, right: Flags) -> float | None:
    """How often a right answer has the higher confidence than a wrong one; ties count half."""
    positives, negatives = int(right.sum()), int((~right).sum())
    if positives == 0 or negatives == 0:
        return None
    _, inverse, counts = np.unique(confidences, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[right].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def risk_coverage(confidences: Floats, right: Flags) -> tuple[Floats, Floats]:
    """(coverage, risk): the share of errors among the most confident answers, as more and more are given.

    Answers of equal confidence come together.
    """
    order = np.argsort(-confidences, kind="stable")
    last = np.append(np.flatnonzero(np.diff(confidences[order])), len(order) - 1)
    errors = np.cumsum(~right[order])[last]
    return (last + 1) / len(order), errors / (last + 1)


def confusion(labels: Labels, answers: Labels) -> NDArray[np.int64]:
    """[10, 10]: row is the label, column the answer."""
    matrix = np.zeros((10, 10), np.int64)
    np.add.at(matrix, (labels, answers), 1)
    return matrix
