"""What a version's compiled model loses and wins against its weights, on the same pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.inference.predictor import Predictor
from training.evaluation.answers import answer_again
from training.evaluation.evaluate import OUTLIER_GROUP, EvaluatedKind
from training.mcnemar import Comparison, compare


@dataclass(frozen=True)
class ComparedKind:
    """right: which of the two read the pictures; None where there are no digits to read.

    answered: the shares with the verdict `digit`, by the weights and by the compiled model.
    """

    name: str
    pictures: int
    right: Comparison | None
    answered: tuple[float, float]


def compare_kinds(kinds: Sequence[EvaluatedKind], weights: Predictor) -> list[ComparedKind]:
    """kinds: as the compiled model answered them."""
    return [_compared(kind, weights) for kind in kinds]


def pooled(kinds: Sequence[ComparedKind]) -> Comparison:
    """All digits together."""
    found = [kind.right for kind in kinds if kind.right]
    return Comparison(
        *(sum(getattr(one, name) for one in found) for name in ("images", "before", "after", "lost", "won"))
    )


def _compared(kind: EvaluatedKind, weights: Predictor) -> ComparedKind:
    compiled, by_weights = kind.answers, answer_again(weights, kind.answers)
    right = None if kind.group == OUTLIER_GROUP else compare(by_weights.correct, compiled.correct)
    answered = float(by_weights.answered.mean()), float(compiled.answered.mean())
    return ComparedKind(kind.name, len(compiled), right, answered)
