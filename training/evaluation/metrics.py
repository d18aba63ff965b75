"""Metrics of answers: accuracy intervals, calibration, and how well confidence separates correct from wrong answers.

confidences: float64 [N] in 0..1, of the answers given; correct: bool [N].
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Labels = NDArray[np.int64]

BINS = 15


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a proportion (Wilson 1927)."""
    interval = binomtest(successes, count).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def calibration_error(confidences: Floats, correct: Flags) -> float:
    """Mean gap between confidence and accuracy over bins of equal mass (adaptive; Nixon et al. 2019)."""
    order = np.argsort(confidences, kind="stable")
    bins = np.array_split(order, min(BINS, len(order)))
    gaps = [abs(confidences[chosen].mean() - correct[chosen].mean()) * len(chosen) for chosen in bins]
    return float(sum(gaps)) / len(correct)


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
