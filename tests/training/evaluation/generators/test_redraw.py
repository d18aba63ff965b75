import io

import numpy as np
import pytest
from PIL import Image

from training.data.mnist import Digits
from training.evaluation.generators import redraw


def components(mask: np.ndarray) -> int:
    """How many 8-connected parts a mask has."""
    left, count = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}, 0
    while left:
        count += 1
        front = [left.pop()]
        while front:
            y, x = front.pop()
            near = {(y + down, x + right) for down in (-1, 0, 1) for right in (-1, 0, 1)} & left
            left -= near
            front += near
    return count


@pytest.mark.parametrize(("digit", "holes"), [(0, 1), (1, 0), (3, 0), (6, 1), (8, 2)])
def test_the_middle_line_is_thin_and_has_the_digits_loops(printed: Digits, digit: int, holes: int) -> None:
    line = redraw.skeleton(printed.images[digit].numpy()) > 0
    assert components(line) == 1
    assert not (line[1:, 1:] & line[1:, :-1] & line[:-1, 1:] & line[:-1, :-1]).any()
    background = Image.fromarray(np.pad(~line, 1, constant_values=True)).resize((172, 172), Image.Resampling.NEAREST)
    # Background is counted without the diagonal steps that cross a line of one pixel.
    wide = np.asarray(background)
    eroded = wide & np.roll(wide, 1, 0) & np.roll(wide, 1, 1) & np.roll(np.roll(wide, 1, 0), 1, 1)
    assert components(eroded[1:, 1:]) == 1 + holes


def test_a_tube_is_as_wide_as_the_pen_and_round() -> None:
    dot = np.zeros((41, 41), bool)
    dot[20, 20] = True
    ink = redraw.tube(dot, 15)
    assert ink[20].sum() == pytest.approx(15, abs=0.6)
    assert ink.sum() == pytest.approx(np.pi * 7.5**2, rel=0.03)
    line = np.zeros((41, 60), bool)
    line[20] = True
    assert redraw.tube(line, 6)[:, 30].sum() == pytest.approx(6, abs=0.6)


@pytest.mark.parametrize(("length", "width"), [(200, 8), (200, 28), (60, 4)])
def test_a_written_digit_has_the_size_and_width_asked_for(printed: Digits, length: int, width: float) -> None:
    ink = redraw.written(np.random.default_rng(0), printed.images[1].numpy(), length, width)
    assert max(ink.shape) == pytest.approx(length, rel=0.08)
    # The stem of a printed 1, above its middle and below its flag, where a slant hardly makes it wider.
    stem = ink[round(0.4 * len(ink)) : round(0.9 * len(ink))].sum(axis=1)
    assert np.median(stem) == pytest.approx(max(width, 2.4 * length / 60), rel=0.25, abs=1)
    assert (ink.min(), ink.max()) == (0, 1)


def test_digits_that_lost_a_loop_are_not_drawn_anew(printed: Digits) -> None:
    tiles = printed.images.numpy().copy()
    assert redraw.redrawable(tiles, range(10)).all()
    for digit in (0, 6, 8, 9):
        inside = np.maximum.accumulate(tiles[digit], 1) & np.maximum.accumulate(tiles[digit][:, ::-1], 1)[:, ::-1]
        tiles[digit] = np.maximum(tiles[digit], inside)
    tiles[1] = 255 - tiles[1]
    assert redraw.redrawable(tiles, range(10)).tolist() == [
        False,
        False,
        True,
        True,
        True,
        True,
        False,
        True,
        False,
        False,
    ]


def test_another_generator_writes_another_digit(printed: Digits) -> None:
    tile = printed.images[4].numpy()
    one, again, other = (redraw.written(np.random.default_rng(seed), tile, 100, 8) for seed in (1, 1, 2))
    assert (one == again).all()
    assert one.shape != other.shape or (one != other).any()


def test_encoded_as_png_is_exact_and_as_jpeg_close() -> None:
    levels = np.linspace(-20, 280, 40 * 30, dtype=np.float32).reshape(40, 30)
    png, jpeg = (np.asarray(Image.open(io.BytesIO(redraw.encoded(levels, quality)))) for quality in (None, 90))
    assert (png == np.rint(levels.clip(0, 255))).all()
    assert 0 < np.abs(png.astype(int) - jpeg).max() < 20
