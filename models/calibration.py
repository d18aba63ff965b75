"""From logits to probabilities that mean what they say, and from a probability to a verdict."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

Verdict = Literal["digit", "unsure"]


class Calibration(BaseModel, frozen=True):
    """Fitted on held-out data, kept in the manifest.

    temperature divides the logits (Guo et al. 2017, arXiv 1706.04599); an answer whose confidence lies below
    threshold is `unsure`.
    """

    temperature: float = Field(default=1.0, gt=0)
    threshold: float = Field(default=0.5, ge=0, le=1)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Rows of logits [N, 10] to rows that sum to 1, in double precision and safe from overflow."""
        scaled = logits.astype(np.float64) / self.temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        exponentials = np.exp(scaled)
        rows: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return rows

    def verdict(self, confidence: float) -> Verdict:
        return "digit" if confidence >= self.threshold else "unsure"
