"""Metrics of answers: accuracy intervals, calibration, and how well confidence separates correct from wrong answers.

confidences: float64 [N] in 0..1, of the answers given; correct: bool [N].
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, roc_auc_score

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Labels = NDArray[np.int64]

BINS = 15


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion (Wilson 1927)."""
    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def reliability(confidences: Floats, correct: Flags, bins: int = BINS) -> list[tuple[float, float, int]]:
    """Bins of equal mass by rising confidence: (mean confidence, accuracy, number of answers) of each."""
    order = np.argsort(confidences, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return [(float(confidences[part].mean()), float(correct[part].mean()), len(part)) for part in parts]


def calibration_error(confidences: Floats, correct: Flags, bins: int = BINS) -> float:
    """Adaptive calibration error: mean gap between confidence and accuracy over the bins (Nixon et al. 2019)."""
    gaps = (abs(confidence - share) * count for confidence, share, count in reliability(confidences, correct, bins))
    return sum(gaps) / len(correct)


def auroc(confidences: Floats, correct: Flags) -> float | None:
    """Area under the ROC curve of confidence as a detector of correct answers; None if all are correct, or none."""
    return float(roc_auc_score(correct, confidences)) if 0 < correct.sum() < len(correct) else None


def risk_coverage(confidences: Floats, correct: Flags) -> tuple[Floats, Floats]:
    """Coverage, and risk (the error rate among the answers covered), at each threshold of confidence from the highest.

    Answers of equal confidence share a threshold.
    """
    order = np.argsort(-confidences, kind="stable")
    last = np.append(np.flatnonzero(np.diff(confidences[order])), len(order) - 1)
    errors = np.cumsum(~correct[order])[last]
    return (last + 1) / len(order), errors / (last + 1)


def confusion(labels: Labels, answers: Labels) -> NDArray[np.int64]:
    """Counts [10, 10]: rows are labels, columns are answers."""
    matrix: NDArray[np.int64] = confusion_matrix(labels, answers, labels=range(10))
    return matrix
