"""Turns logits into calibrated probabilities and a verdict."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, Field

Verdict = Literal["digit", "unsure"]

_MIN_EVIDENCE = 1e-6


class Calibration(BaseModel, frozen=True, allow_inf_nan=False):
    """Temperature scaling with a temperature for each image, fitted on held-out data and kept in the manifest.

    Logits are divided by temperature * evidence ** power * exp(-margin_weight * margin); see `evidence_and_margin`.
    Plain temperature scaling (Guo et al. 2017, arXiv 1706.04599) leaves two errors. A network trained to give flat
    logits for images that are no digit is underconfident about unusual digits, which `power` corrects. Of two images
    with equal confidence, the one with the larger margin is right more often, which `margin_weight` corrects.

    The verdict is `unsure` in two cases. A confidence below `threshold` means that another digit is possible. An
    evidence below `evidence` * temperature means that the image may show no digit.
    """

    temperature: float = Field(default=1.0, gt=0)
    # Fitted values stay far inside these bounds; beyond them double precision overflows.
    power: float = Field(default=0.0, ge=-40, le=40)
    # Manifests of earlier releases call it `margin`.
    margin_weight: float = Field(default=0.0, ge=-40, le=40, validation_alias=AliasChoices("margin_weight", "margin"))
    threshold: float = Field(default=0.5, ge=0, le=1)
    evidence: float = Field(default=0.0, ge=0)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Maps logits [N, 10] to rows [N, 10] that sum to 1, in double precision and safe from overflow."""
        return self.answers(logits)[0]

    def answers(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Maps logits [N, 10] to probabilities [N, 10] and to whether the verdict is `digit` [N]."""
        shifted, evidence, margin = evidence_and_margin(logits)
        shifted /= (self.temperature * evidence**self.power * np.exp(-self.margin_weight * margin))[:, None]
        exponentials = np.exp(shifted, out=shifted)
        rows: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
        confident: NDArray[np.bool_] = rows.max(axis=1) >= self.threshold
        return rows, confident & (evidence >= self.evidence * self.temperature)

    def answer(self, logits: Sequence[float]) -> tuple[list[float], bool]:
        """As `answers`, for one image. For a few images, one by one, this is faster than NumPy."""
        first = max(logits)
        evidence = max(first - sum(logits) / 10, _MIN_EVIDENCE)
        margin = (first - sorted(logits)[-2]) / evidence
        try:
            scale = self.temperature * evidence**self.power * math.exp(-self.margin_weight * margin)
            exponentials = [math.exp((logit - first) / scale) for logit in logits]
        except ArithmeticError:  # beyond double precision, where NumPy goes on with infinity
            rows, is_digit = self.answers(np.array([logits], np.float32))
            return rows[0].tolist(), bool(is_digit[0])
        total = sum(exponentials)
        confident = max(exponentials) / total >= self.threshold
        return [one / total for one in exponentials], confident and evidence >= self.evidence * self.temperature


def evidence_and_margin(
    logits: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Returns the logits [N, 10] minus the largest of their row, the evidence [N] and the margin [N].

    Evidence is the largest logit minus the mean of its row. A digit resembles few of the ten classes, so its evidence
    is high even where two classes are close; an image that is no digit has low evidence.
    Margin is the largest logit minus the second, divided by the evidence.
    """
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    evidence = np.maximum(shifted.sum(axis=1) / -10, _MIN_EVIDENCE)
    return shifted, evidence, np.partition(shifted, -2, axis=1)[:, -2] / -evidence
