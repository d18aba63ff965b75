import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from training.data.mnist import Digits
from training.evaluation.generators import rendering


@pytest.mark.parametrize(("digit", "holes"), [(0, 1), (1, 0), (3, 0), (6, 1), (8, 2)])
def test_the_skeleton_is_thin_connected_and_keeps_loops(printed: Digits, digit: int, holes: int) -> None:
    line = rendering.skeleton(printed.images[digit].numpy()) > 0
    assert ndimage.label(line, np.ones((3, 3)))[1] == 1
    assert not (line[1:, 1:] & line[1:, :-1] & line[:-1, 1:] & line[:-1, :-1]).any()
    assert ndimage.label(np.pad(~line, 1, constant_values=True))[1] == 1 + holes


def test_a_stroke_is_round_and_as_wide_as_the_pen() -> None:
    dot = np.zeros((41, 41), bool)
    dot[20, 20] = True
    ink = rendering.stroked(dot, 15)
    assert ink[20].sum() == pytest.approx(15, abs=0.6)
    assert ink.sum() == pytest.approx(np.pi * 7.5**2, rel=0.03)
    line = np.zeros((41, 60), bool)
    line[20] = True
    assert rendering.stroked(line, 6)[:, 30].sum() == pytest.approx(6, abs=0.6)


@pytest.mark.parametrize(("length", "width"), [(200, 8), (200, 28), (60, 4)])
def test_a_redrawn_digit_has_the_requested_length_and_width(printed: Digits, length: int, width: float) -> None:
    ink = rendering.redrawn(np.random.default_rng(0), printed.images[1].numpy(), length, width)
    assert max(ink.shape) == pytest.approx(length, rel=0.08)
    # Rows below the flag of the 1, where only the stem is.
    stem = ink[round(0.4 * len(ink)) : round(0.9 * len(ink))].sum(axis=1)
    assert np.median(stem) == pytest.approx(max(width, 2.4 * length / 60), rel=0.25, abs=1)
    assert (ink.min(), ink.max()) == (0, 1)


def test_digits_that_lost_a_loop_are_not_redrawable(printed: Digits) -> None:
    tiles = printed.images.numpy().copy()
    assert rendering.redrawable(tiles, range(10)).all()
    for digit in (0, 6, 8, 9):
        inside = np.maximum.accumulate(tiles[digit], 1) & np.maximum.accumulate(tiles[digit][:, ::-1], 1)[:, ::-1]
        tiles[digit] = np.maximum(tiles[digit], inside)
    tiles[1] = 255 - tiles[1]
    assert np.flatnonzero(rendering.redrawable(tiles, range(10))).tolist() == [2, 3, 4, 5, 7]


def test_the_random_generator_decides_how_a_digit_is_redrawn(printed: Digits) -> None:
    tile = printed.images[4].numpy()
    one, again, other = (rendering.redrawn(np.random.default_rng(seed), tile, 100, 8) for seed in (1, 1, 2))
    assert (one == again).all()
    assert one.shape != other.shape or (one != other).any()


def test_ruled_lines_have_the_requested_distance_and_tilt() -> None:
    rng = np.random.default_rng(0)
    lines = rendering.ruled_lines(rng, (300, 200), 30, squared=False)
    assert lines.shape == (300, 200) and lines.dtype == np.float32
    assert set(np.unique(lines)) == {0, 1}
    assert set(np.diff(np.flatnonzero(np.diff(lines[:, 0]) > 0))) == {30}
    turned = rendering.ruled_lines(rng, (300, 200), 60, squared=False, tilt=3)
    starts = [np.flatnonzero(turned[:, column] > 0.5)[0] for column in (0, 199)]
    assert abs(abs(starts[0] - starts[1]) - 200 * np.tan(np.radians(3))) % 60 < 5


def test_a_png_is_exact_and_a_jpeg_is_close() -> None:
    levels = np.linspace(-20, 280, 40 * 30, dtype=np.float32).reshape(40, 30)
    png, jpeg = (np.asarray(Image.open(io.BytesIO(rendering.encode(levels, quality)))) for quality in (None, 90))
    assert (png == np.rint(levels.clip(0, 255))).all()
    assert 0 < np.abs(png.astype(int) - jpeg).max() < 20
