from itertools import pairwise

import numpy as np
import pytest
import torch

from models.preprocessing.decode import Picture
from models.preprocessing.normalise import normalise
from tests.support.holes import holes
from training.data.synthetic import pen, rare_forms
from training.progress import Report


def test_the_bank_holds_every_digit_and_depends_on_the_seed_alone() -> None:
    bank, again, other = (rare_forms.bank(300, seed, Report(quiet=True)) for seed in (0, 0, 1))
    assert bank.images.dtype == torch.uint8 and bank.images.shape[1:] == (28, 28)
    assert bank.labels.dtype == torch.int64 and set(bank.labels.tolist()) == set(range(10))
    assert 290 <= len(bank) <= 300
    assert (bank.images.flatten(1).max(1).values > 200).all()
    assert bank.fingerprint() == again.fingerprint() != other.fingerprint()


@pytest.mark.parametrize("draw", [rare_forms.written, rare_forms.printed])
def test_each_drawing_differs(draw) -> None:
    generator = np.random.default_rng(0)
    pictures = [draw(generator)[0] for _ in range(50)]
    assert len({picture.tobytes() for picture in pictures}) == 50


def test_a_form_is_drawn_as_its_points_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The upstroke of a 1 begins left of its stem, in the mean of many drawings."""
    monkeypatch.setattr(rare_forms, "FORMS", {digit: ["0,3 2,0; 2,0 2,6"] for digit in range(10)})
    generator = np.random.default_rng(0)
    drawn = [rare_forms.written(generator) for _ in range(50)]
    assert len({label for _, label in drawn}) > 5
    mean = np.mean([normalise(Picture(picture)).pixels for picture, _ in drawn], axis=0)
    stem = mean[20:24].sum(axis=0).argmax()
    assert mean[8:14, : stem - 1].sum() > 4 * mean[8:14, stem + 3 :].sum()


def test_every_form_fits_the_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [form for some in rare_forms.FORMS.values() for form in some]
    monkeypatch.setattr(rare_forms, "FORMS", dict.fromkeys(range(10), every))
    generator = np.random.default_rng(0)
    for _ in range(20 * len(every)):
        picture, _ = rare_forms.written(generator)
        inked = [np.flatnonzero(picture.any(axis=axis)) for axis in (0, 1)]
        assert all(pixels[0] > 0 and pixels[-1] < pen.SHEET - 1 for pixels in inked)


@pytest.mark.parametrize(("share", "used"), [(1, "written"), (0, "printed")])
def test_digits_are_written_and_printed(share: int, used: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rare_forms, "WRITTEN_SHARE", share)
    unused = {"written": "printed", "printed": "written"}[used]
    monkeypatch.delattr(rare_forms, unused)
    assert len(rare_forms.bank(20, 0, Report(quiet=True))) == 20


def test_training_has_no_barred_seven_and_no_looped_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for form in rare_forms.FORMS[7]:
        assert all(
            stroke[0] == before[-1] for before, stroke in pairwise(rare_forms.strokes_of(form))
        )  # one line, so no bar
    monkeypatch.setattr(rare_forms, "FORMS", dict.fromkeys(range(10), rare_forms.FORMS[2]))
    generator = np.random.default_rng(0)
    assert np.mean([holes(rare_forms.written(generator)[0] / 255) for _ in range(40)]) < 0.1
