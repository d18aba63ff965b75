import io

import numpy as np
import pytest
from PIL import Image

from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.data.mnist import Digits
from training.evaluation.generators import no_digits

KINDS = no_digits.kinds()


def made(kind: str, printed: Digits, count: int = 12) -> list[np.ndarray]:
    tiles = printed.images.numpy()
    data = [KINDS[kind](np.random.default_rng(index), tiles) for index in range(count)]
    assert data == [KINDS[kind](np.random.default_rng(index), tiles) for index in range(count)]
    assert len(set(data)) == count
    return [np.asarray(Image.open(io.BytesIO(picture)).convert("L")) for picture in data]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_a_kind_differ_and_show_something(printed: Digits, kind: str) -> None:
    sizes = set()
    for pixels in made(kind, printed):
        assert pixels.std() > 1
        sizes.add(pixels.shape)
    assert len(sizes) > 1


def test_no_letter_is_a_digit_in_another_size() -> None:
    assert not set(no_digits.LETTERS + no_digits.SIGNS) & set("OoIlSsZzBbgq0123456789|/-.,'`")
    assert len(no_digits.LETTERS) == 40


def test_fonts_give_all_letters_and_signs_a_shape_of_their_own() -> None:
    for font in [
        no_digits.ImageFont.load_default(60),
        *(no_digits.ImageFont.truetype(p, 60) for p in no_digits._fonts()),
    ]:
        shapes = {bytes(font.getmask(letter)) for letter in no_digits.LETTERS + no_digits.SIGNS}
        assert len(shapes) == len(no_digits.LETTERS + no_digits.SIGNS)


def test_without_more_fonts_there_is_one_kind_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(no_digits.importlib.util, "find_spec", lambda name: None)
    no_digits._fonts.cache_clear()
    try:
        assert set(no_digits.kinds()) == set(KINDS) - {"letters in more fonts"}
    finally:
        no_digits._fonts.cache_clear()


def test_two_digits_are_two_and_wider_than_one(printed: Digits) -> None:
    tiles = printed.images.numpy()
    for seed in range(10):
        read = normalise(decode(no_digits.two_digits(np.random.default_rng(seed), tiles))).pixels
        inked = read.max(axis=0) > 30
        left, right = np.flatnonzero(inked)[[0, -1]]
        assert right - left > 13
        assert (read[:, left : right + 1].max(axis=0) < 130).any()


def test_clothing_is_filled(printed: Digits) -> None:
    shares = []
    for seed in range(14):
        read = normalise(decode(no_digits.clothing(np.random.default_rng(seed), printed.images.numpy()))).pixels > 60
        rows, columns = np.nonzero(read)
        shares.append(read.sum() / ((np.ptp(rows) + 1) * (np.ptp(columns) + 1)))
    assert np.mean(shares) > 0.55
