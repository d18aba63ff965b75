"""From logits to probabilities that mean what they say, and from probabilities to a verdict."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

Verdict = Literal["digit", "unsure"]


class Calibration(BaseModel, frozen=True):
    """Fitted on held-out data, kept in the manifest.

    temperature divides the logits (Guo et al. 2017, arXiv 1706.04599). An answer is `unsure` when its confidence lies
    below threshold: then it may be another digit; or its evidence does: then it may be none.
    """

    temperature: float = Field(default=1.0, gt=0)
    threshold: float = Field(default=0.5, ge=0, le=1)
    evidence: float = Field(default=0.0, ge=0)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Rows of logits [N, 10] to rows that sum to 1, in double precision and safe from overflow."""
        scaled = logits.astype(np.float64) / self.temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        exponentials = np.exp(scaled)
        rows: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return rows

    def certain(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """For rows of probabilities [N, 10], whether the verdict is `digit`."""
        confident: NDArray[np.bool_] = probabilities.max(axis=1) >= self.threshold
        return confident & (evidence(probabilities) >= self.evidence)


def evidence(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of rows [N, 10]: by how much the best logit stands above the mean of all ten, in nats.

    A digit is unlike most of the others, even where it is hard to tell from one of them. A network that was taught to
    have no idea of what is no digit is not that clear about anything else.
    """
    logarithms = np.log(probabilities.clip(1e-300))
    found: NDArray[np.float64] = logarithms.max(axis=1) - logarithms.mean(axis=1)
    return found
