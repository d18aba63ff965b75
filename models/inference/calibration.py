"""From logits to probabilities that mean what they say, and from both to a verdict."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

Verdict = Literal["digit", "unsure"]

_LEAST_EVIDENCE = 1e-6


class Calibration(BaseModel, frozen=True, allow_inf_nan=False):
    """Fitted on held-out data, kept in the manifest.

    Logits are divided by a temperature (Guo et al. 2017, arXiv 1706.04599), which each answer has of its own:
    temperature * evidence ** power * exp(-margin * lead). A network that was taught to have no idea of what is no digit
    is too modest about digits that look strange; and of two with the same confidence, the one with the lead over its
    runner-up is right more often.

    An answer is `unsure` when its confidence lies below threshold: then it may be another digit; or its evidence, over
    the temperature, below the bound of that name: then it may be none.
    """

    temperature: float = Field(default=1.0, gt=0)
    # Far beyond what is ever fitted, and within what double precision holds.
    power: float = Field(default=0.0, ge=-40, le=40)
    margin: float = Field(default=0.0, ge=-40, le=40)
    threshold: float = Field(default=0.5, ge=0, le=1)
    evidence: float = Field(default=0.0, ge=0)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Rows of logits [N, 10] to rows that sum to 1, in double precision and safe from overflow."""
        return self.answers(logits)[0]

    def answers(self, logits: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Of rows of logits [N, 10] the probabilities, and whether the verdict is `digit` [N]."""
        below, evidence, lead = compared(logits)
        below /= (self.temperature * evidence**self.power * np.exp(-self.margin * lead))[:, None]
        exponentials = np.exp(below, out=below)
        rows: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
        certain: NDArray[np.bool_] = rows.max(axis=1) >= self.threshold
        return rows, certain & (evidence >= self.evidence * self.temperature)


def compared(
    logits: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of rows [N, 10]: how far each logit lies from the best (0 or less), [N, 10]; and for each row, [N], its evidence,
    how far the best stands above the mean of all, and its lead, how far above the second as a part of that.

    A digit is unlike most of the others, even where it is hard to tell from one of them. A network that was taught to
    have no idea of what is no digit is not that clear about anything else.
    """
    below = logits.astype(np.float64)
    below -= below.max(axis=1, keepdims=True)
    evidence = np.maximum(below.sum(axis=1) / -10, _LEAST_EVIDENCE)
    return below, evidence, np.partition(below, -2, axis=1)[:, -2] / -evidence
