from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.inference.predictor import Predictor
from training.data.mnist import Digits
from training.evaluation import answers, metrics
from training.evaluation.datasets import NO_DIGIT, Sample


@pytest.fixture
def samples(printed: Digits, encode: Callable[..., bytes]) -> list[Sample]:
    """The ten digits, three with a wrong label; half of a digit; and a blank picture."""
    tiles = printed.images.numpy()
    labels = [0, 1, 2, 3, 4, 5, 6, 0, 0, 0]
    found = [Sample(str(i), label, lambda i=i: encode(tiles[i])) for i, label in enumerate(labels)]
    half = tiles[8].copy()
    half[14:] = 0
    found.append(Sample("half", 8, lambda: encode(half)))
    found.append(Sample("empty", 1, lambda: encode(np.zeros((28, 28), np.uint8))))
    return found


def test_answers_equal_single_predictions(samples: list[Sample], predictor: Predictor, printed: Digits) -> None:
    done = []
    found = answers.answer(predictor, samples, done.append)
    assert sum(done) == len(found) == 12
    assert (found.tiles[:10] == printed.images.numpy()).all()
    assert found.digits[:10].tolist() == list(range(10))
    assert found.correct.tolist() == [True] * 7 + [False] * 3 + [found.digits[10] == 8, False]
    assert found.has_ink.tolist() == [True] * 11 + [False]
    single = [predictor.predict(tile[None])[0] for tile in found.tiles[:11]]
    assert found.confidences[:11] == pytest.approx([answer.confidence for answer in single], abs=1e-6)
    assert found.answered.tolist() == [answer.verdict == "digit" for answer in single] + [False]


def test_without_ink_all_digits_are_equally_likely(samples: list[Sample], predictor: Predictor) -> None:
    found = answers.answer(predictor, samples)
    assert found.probabilities[11].tolist() == [0.1] * 10
    assert found.uncalibrated[11].tolist() == [0.1] * 10
    assert not found.tiles[11].any()


def test_batches_do_not_change_the_answers(
    samples: list[Sample], predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answers.answer(predictor, samples)
    monkeypatch.setattr(answers, "BATCH", 5)
    parts = answers.answer(predictor, samples)
    assert (whole.digits == parts.digits).all()
    assert parts.probabilities == pytest.approx(whole.probabilities, abs=1e-6)


def test_metrics_of_digits(samples: list[Sample], predictor: Predictor) -> None:
    found = answers.answer(predictor, samples)
    measured = answers.digit_metrics(found)
    correct = int(found.correct.sum())
    assert correct in (7, 8)
    assert (measured.pictures, measured.nothing_drawn) == (12, 1)
    assert measured.accuracy == pytest.approx(correct / 12)
    assert measured.accuracy_interval == metrics.wilson_interval(correct, 12)
    assert measured.coverage == found.answered.mean()
    likelihoods = found.probabilities[range(12), found.labels]
    assert measured.negative_log_likelihood == pytest.approx(-np.log(likelihoods.clip(1e-12)).mean())
    assert measured.uncalibrated_negative_log_likelihood != measured.negative_log_likelihood


def test_metrics_of_outliers_count_unsure_and_blank_pictures(samples: list[Sample], predictor: Predictor) -> None:
    outliers = [Sample(sample.name, NO_DIGIT, sample.read) for sample in samples]
    found = answers.answer(predictor, outliers)
    measured = answers.outlier_metrics(found)
    assert measured.unsure == pytest.approx(1 - found.answered.mean())
    assert 0 < measured.unsure < 1
    assert (measured.pictures, measured.nothing_drawn) == (12, 1)
    assert not found.correct.any()


def test_the_error_of_a_broken_picture_names_it(predictor: Predictor, tmp_path: Path) -> None:
    broken = Sample(str(tmp_path / "3" / "three.png"), 3, lambda: b"\x89PNG\r\n\x1a\n and no more")
    with pytest.raises(DataError, match=r"three\.png: ") as caught:
        answers.answer(predictor, [broken])
    assert "\n" not in str(caught.value)
