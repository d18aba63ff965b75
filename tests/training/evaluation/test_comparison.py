import numpy as np
import pytest
import torch

from models.inference.calibration import Calibration
from models.inference.predictor import Predictor, Tiles
from training.data.mnist import Digits
from training.evaluation.comparison import ComparedKind, compare_kinds, pooled
from training.evaluation.datasets import NO_DIGIT, of_digits
from training.evaluation.evaluate import evaluated
from training.evaluation.report.table import comparison_table
from training.mcnemar import Comparison
from training.progress import Report


class Spoilt(Predictor):
    """Never answers 3, and is always sure."""

    def __init__(self, whole: Predictor) -> None:
        super().__init__(Calibration(temperature=0.5, threshold=0), "spoilt", "cpu", "onnxruntime-int8")
        self._whole = whole

    def forward(self, tiles: Tiles) -> np.ndarray:
        logits = self._whole.forward(tiles)
        logits[:, 3] = -1
        return logits


@pytest.fixture(scope="module")
def compared(printed: Digits, predictor: Predictor) -> list[ComparedKind]:
    """The spoilt model against weights that read all printed digits."""
    upside_down = Digits(printed.images[4:6].flip(1), torch.full((2,), NO_DIGIT))
    empty = Digits(torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    datasets = [("data sets", "printed", printed), ("data sets", "empty", empty), ("outliers", "turned", upside_down)]
    sources = [(group, of_digits(name, digits)) for group, name, digits in datasets]
    return compare_kinds(evaluated(Spoilt(predictor), sources, Report(quiet=True)), predictor)


def test_each_kind_counts_what_the_compiled_model_loses_and_wins(compared: list[ComparedKind]) -> None:
    printed, empty, outliers = compared
    assert printed.right == Comparison(10, before=10, after=9, lost=1, won=0)
    assert empty.right == Comparison(1, before=0, after=0, lost=0, won=0)
    assert outliers.right is None
    assert outliers.answered[1] == printed.answered[1] == 1
    assert empty.answered == (0, 0)


def test_all_digits_are_counted_together(compared: list[ComparedKind]) -> None:
    assert pooled(compared) == Comparison(11, before=10, after=9, lost=1, won=0)
    lines = comparison_table("printed", compared).splitlines()
    assert lines[-1] == "all digits: 9.091 points lost, p = 0.50 (exact McNemar, one-sided)"
    assert sum(line.strip().startswith(("printed ", "empty ", "turned ", "all digits ")) for line in lines) == 4
