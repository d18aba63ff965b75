import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.inference.predictor import Predictor
from training.data.mnist import Digits
from training.evaluation import evaluate
from training.evaluation.answers import Figures, Refusals
from training.evaluation.evaluate import GROUPS, Evaluation, Kind
from training.evaluation.generators import damage, drawings, handwriting, no_digits, photographs
from training.progress import Report


@pytest.fixture(scope="session")
def evaluation(printed: Digits, predictor: Predictor) -> Evaluation:
    """Three pictures of every kind."""
    sources = list(evaluate.made(printed, printed, pictures=3, seed=0))
    return Evaluation("printed", 0, evaluate.measured(predictor, sources, Report(quiet=True)))


def names() -> list[str]:
    """Of the kinds of pictures that are made, in order."""
    return [*drawings.KINDS, *photographs.KINDS, *handwriting.FORMS, *damage.KINDS, *no_digits.kinds()]


def test_every_kind_is_made(evaluation: Evaluation) -> None:
    assert [kind.name for kind in evaluation.kinds] == names()
    assert {kind.group for kind in evaluation.kinds} == set(GROUPS[1:])
    assert {len(kind.answers) for kind in evaluation.kinds} == {3}


def test_labels_are_those_of_the_tiles_and_forms(evaluation: Evaluation) -> None:
    kinds = {kind.name: kind for kind in evaluation.kinds}
    assert set(kinds["seven with a bar"].answers.labels) == {7}
    assert set(kinds["letters"].answers.labels) == {-1}
    assert all(len(set(kinds[name].answers.labels)) == 3 for name in drawings.KINDS)
    # Printed digits moved by a few pixels are centred again, and this predictor knows them by heart.
    assert kinds["translate"].answers.right.sum() >= 2
    assert np.mean([kinds[name].answers.right.mean() for name in damage.KINDS]) > 0.3


def test_the_same_seed_gives_the_same_pictures_in_any_order(printed: Digits) -> None:
    def pictures(seed: int, backwards: bool = False) -> dict[str, bytes]:
        samples = [sample for _, data in evaluate.made(printed, printed, 2, seed) for sample in data.samples]
        return {sample.name: sample.read() for sample in (reversed(samples) if backwards else samples)}

    first, again, other = pictures(1), pictures(1, backwards=True), pictures(2)
    assert first == again
    assert sum(first[name] == other[name] for name in first) < 3


def test_pooled_figures_weigh_pictures_alike(evaluation: Evaluation) -> None:
    whole = evaluation.pooled()
    assert list(whole) == list(GROUPS[1:])
    damaged = evaluation.group("damaged")
    found = whole["damaged"]
    assert isinstance(found, Figures)
    assert found.pictures == 45
    assert found.accuracy == pytest.approx(np.mean([kind.answers.right.mean() for kind in damaged]))
    assert isinstance(whole["no digit"], Refusals)


def test_the_table_has_a_line_for_each_kind(evaluation: Evaluation) -> None:
    lines = evaluate.table(evaluation).splitlines()
    for kind in evaluation.kinds:
        (line,) = [line for line in lines if line.strip().startswith(f"{kind.name}  ")]
        share = kind.figures.unsure if isinstance(kind.figures, Refusals) else kind.figures.accuracy
        assert f"{share:.2%}" in line
    assert max(map(len, lines)) <= 130


def test_named_data_alone(tmp_path: Path, predictor: Predictor, printed: Digits, encode: Callable[..., bytes]) -> None:
    for label, tile in enumerate(printed.images.numpy()):
        (tmp_path / "tree" / str(label)).mkdir(parents=True)
        (tmp_path / "tree" / str(label) / "one.png").write_bytes(encode(255 - tile))
    line = "3 " + " ".join(["-1"] * 120 + ["1"] * 16 + ["-1"] * 120)
    (tmp_path / "zip.few.gz").write_bytes(gzip.compress(f"{line}\n{line}\n".encode()))
    found = evaluate.evaluate(predictor, None, [tmp_path / "tree", tmp_path / "zip.few.gz"])
    assert [(kind.name, len(kind.answers)) for kind in found.kinds] == [("tree", 10), ("USPS zip.few.gz", 2)]
    assert found.kinds[0].answers.right.all()
    assert found.pooled() == {}


def test_a_missing_data_set_is_found_out_before_any_work(tmp_path: Path, predictor: Predictor) -> None:
    with pytest.raises(DataError, match="nowhere"):
        evaluate.evaluate(predictor, None, [tmp_path / "nowhere"])
    with pytest.raises(DataError, match="MNIST is not in"):
        evaluate.evaluate(predictor, tmp_path)


@pytest.mark.slow
def test_the_whole_evaluation(predictor: Predictor, data_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate.evaluate(predictor, data_folder, pictures=3, report=Report())
    assert isinstance(found.kinds[0], Kind)
    assert (found.kinds[0].name, len(found.kinds[0].answers)) == ("MNIST test", 10_000)
    assert [kind.name for kind in found.kinds] == ["MNIST test", "MNIST held out", *names()]
    assert found.kinds[0].figures.nothing_drawn == 0
    assert "MNIST test" in capsys.readouterr().out
