import io

import numpy as np
import pytest
from PIL import Image, ImageFont

from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.data.mnist import Digits
from training.evaluation.generators import no_digits
from training.evaluation.generators.no_digits import OUTLIERS


def generated(kind: str, printed: Digits, count: int = 12) -> list[np.ndarray]:
    tiles = printed.images.numpy()
    data = [OUTLIERS[kind](np.random.default_rng(index), tiles) for index in range(count)]
    assert data == [OUTLIERS[kind](np.random.default_rng(index), tiles) for index in range(count)]
    assert len(set(data)) == count
    return [np.asarray(Image.open(io.BytesIO(picture)).convert("L")) for picture in data]


@pytest.mark.parametrize("kind", OUTLIERS)
def test_outliers_differ_and_are_not_blank(printed: Digits, kind: str) -> None:
    sizes = set()
    for pixels in generated(kind, printed):
        assert pixels.std() > 1
        sizes.add(pixels.shape)
    assert len(sizes) > 1


def test_no_letter_or_sign_looks_like_a_digit() -> None:
    assert not set(no_digits.LETTERS + no_digits.SIGNS) & set("OoIlSsZzBbgq0123456789|/-.,'`")
    assert len(no_digits.LETTERS) == 40


def test_fonts_have_a_distinct_shape_for_each_letter_and_sign() -> None:
    more = [ImageFont.truetype(path, 60) for path in no_digits._fonts()]
    assert len(more) > 10
    for font in [ImageFont.load_default(60), *more]:
        shapes = {bytes(font.getmask(letter)) for letter in no_digits.LETTERS + no_digits.SIGNS}
        assert len(shapes) == len(no_digits.LETTERS + no_digits.SIGNS)


def test_two_digits_are_wide_and_have_a_gap(printed: Digits) -> None:
    tiles = printed.images.numpy()
    for seed in range(10):
        read = normalise(decode(no_digits.two_digits(np.random.default_rng(seed), tiles))).pixels
        inked = read.max(axis=0) > 30
        left, right = np.flatnonzero(inked)[[0, -1]]
        assert right - left > 13
        assert (read[:, left : right + 1].max(axis=0) < 130).any()


def test_clothing_fills_most_of_its_bounding_box(printed: Digits) -> None:
    shares = []
    for seed in range(14):
        read = normalise(decode(no_digits.clothing(np.random.default_rng(seed), printed.images.numpy()))).pixels > 60
        rows, columns = np.nonzero(read)
        shares.append(read.sum() / ((np.ptp(rows) + 1) * (np.ptp(columns) + 1)))
    assert np.mean(shares) > 0.55
