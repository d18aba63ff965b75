import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.inference.predictor import Predictor
from training.data.mnist import Digits
from training.evaluation.answers import DigitMetrics, OutlierMetrics
from training.evaluation.evaluate import GROUPS, Evaluation, evaluate, generated
from training.evaluation.generators.drawings import DRAWINGS
from training.evaluation.generators.handwriting import FORMS
from training.evaluation.generators.mnist_c import CORRUPTIONS
from training.evaluation.generators.no_digits import OUTLIERS
from training.evaluation.generators.photographs import PHOTOGRAPHS
from training.progress import Report

pytestmark = pytest.mark.processes

QUIET = Report(quiet=True)
GENERATED = [*DRAWINGS, *PHOTOGRAPHS, *FORMS, *CORRUPTIONS, *OUTLIERS]
"""The names of the generated kinds, in order."""


def test_every_kind_is_generated(evaluation: Evaluation) -> None:
    assert [kind.name for kind in evaluation.kinds[1:]] == GENERATED
    assert {kind.group for kind in evaluation.kinds[1:]} == set(GROUPS[1:])
    assert {len(kind.answers) for kind in evaluation.kinds[1:]} == {3}


def test_labels_are_those_of_the_tiles_and_forms(evaluation: Evaluation) -> None:
    answers = {kind.name: kind.answers for kind in evaluation.kinds}
    assert set(answers["seven with a bar"].labels) == {7}
    assert set(answers["letters"].labels) == {-1}
    assert all(len(set(answers[name].labels)) == 3 for name in DRAWINGS)
    # Normalisation undoes a translation, and the predictor recognises the printed digits.
    assert answers["translate"].correct.sum() >= 2
    assert np.mean([answers[name].correct.mean() for name in CORRUPTIONS]) > 0.3


def test_the_same_seed_generates_the_same_pictures_in_any_order(printed: Digits) -> None:
    def pictures(seed: int, backwards: bool = False) -> dict[str, bytes]:
        samples = [sample for _, dataset in generated(printed, printed, 2, seed) for sample in dataset.samples]
        return {sample.name: sample.read() for sample in (reversed(samples) if backwards else samples)}

    first, again, other = pictures(1), pictures(1, backwards=True), pictures(2)
    assert first == again
    assert sum(first[name] == other[name] for name in first) < 3


def test_pooled_metrics_weigh_all_pictures_of_a_group_alike(evaluation: Evaluation) -> None:
    pooled = evaluation.pooled()
    assert list(pooled) == list(GROUPS[1:])
    found = pooled["corrupted"]
    assert isinstance(found, DigitMetrics)
    assert found.pictures == 3 * len(CORRUPTIONS)
    accuracies = [kind.answers.correct.mean() for kind in evaluation.group("corrupted")]
    assert found.accuracy == pytest.approx(np.mean(accuracies))
    assert isinstance(pooled["outliers"], OutlierMetrics)


def test_data_sets_are_evaluated_without_mnist(
    tmp_path: Path, predictor: Predictor, printed: Digits, encode: Callable[..., bytes]
) -> None:
    for label, tile in enumerate(printed.images.numpy()):
        (tmp_path / "tree" / str(label)).mkdir(parents=True)
        (tmp_path / "tree" / str(label) / "one.png").write_bytes(encode(255 - tile))
    line = "3 " + " ".join(["-1"] * 120 + ["1"] * 16 + ["-1"] * 120)
    (tmp_path / "zip.few.gz").write_bytes(gzip.compress(f"{line}\n{line}\n".encode()))
    found = evaluate(predictor, None, [tmp_path / "tree", tmp_path / "zip.few.gz"], 3, 0, False, QUIET)
    assert [(kind.name, len(kind.answers)) for kind in found.kinds] == [("tree", 10), ("USPS zip.few.gz", 2)]
    assert found.kinds[0].answers.correct.all()
    assert found.pooled() == {}


def test_a_missing_data_set_is_an_error_before_any_work(tmp_path: Path, predictor: Predictor) -> None:
    with pytest.raises(DataError, match="nowhere"):
        evaluate(predictor, None, [tmp_path / "nowhere"], 3, 0, False, QUIET)
    with pytest.raises(DataError, match="MNIST is not in"):
        evaluate(predictor, tmp_path, [], 3, 0, False, QUIET)


@pytest.mark.slow
def test_an_evaluation_covers_mnist_and_all_generated_kinds(predictor: Predictor, data_folder: Path) -> None:
    found = evaluate(predictor, data_folder, [], 3, 0, False, QUIET)
    assert [kind.name for kind in found.kinds] == ["MNIST test", "MNIST held out", *GENERATED]
    assert len(found.kinds[0].answers) == 10_000
    assert found.kinds[0].metrics.nothing_drawn == 0
