import io

import numpy as np
import pytest
from PIL import Image

from models.inference.predictor import Predictor
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.data.mnist import Digits
from training.evaluation.generators import drawings


def drawn(kind: str, printed: Digits, count: int = 20) -> list[Image.Image]:
    tiles = printed.images.numpy()
    draw = drawings.DRAWINGS[kind]
    data = [draw(np.random.default_rng(index), tiles[index % 10]) for index in range(count)]
    assert len(set(data)) == count
    return [Image.open(io.BytesIO(picture)) for picture in data]


@pytest.mark.parametrize(("kind", "low", "high"), [("thin pen", 0.6, 1.9), ("thick pen", 2.6, 5.5)])
def test_strokes_in_small_pictures_are_as_wide_as_the_pen(printed: Digits, kind: str, low: float, high: float) -> None:
    for image in drawn(kind, printed):
        assert image.size == (28, 28)
        ink = 1 - np.asarray(image) / 255
        outline = np.abs(np.diff(ink, axis=0)).sum() + np.abs(np.diff(ink, axis=1)).sum()
        assert low < 2.5 * ink.sum() / outline < high


def test_a_digit_at_the_edge_touches_the_border(printed: Digits) -> None:
    for image in drawn("at the edge", printed):
        levels = np.asarray(image)
        assert min(levels[[0, -1]].min(), levels[:, [0, -1]].min()) < 180


def test_a_digit_in_a_corner_is_small_and_far_from_the_middle(printed: Digits) -> None:
    for image in drawn("in a corner", printed):
        levels = np.asarray(image).astype(int)
        rows, columns = np.nonzero(np.abs(levels - levels[len(levels) // 2, levels.shape[1] // 2]).max(axis=2) > 20)
        assert max(np.ptp(rows), np.ptp(columns)) < 140 <= 400 <= min(image.size)
        assert abs(rows.mean() / image.height - 0.5) > 0.2
        assert abs(columns.mean() / image.width - 0.5) > 0.2


def test_a_digit_in_a_box_is_enclosed_by_straight_lines(printed: Digits) -> None:
    for image in drawn("in a box", printed):
        levels = np.asarray(image).astype(int)
        different = np.abs(levels - levels[0, 0]).max(axis=2) > 20
        rows, columns = np.nonzero(different)
        assert different[rows.min(), columns.min() : columns.max()].all()
        assert different[rows.min() : rows.max(), columns.max()].all()


def test_a_digit_in_a_circle_is_enclosed_in_every_direction(printed: Digits) -> None:
    for image in drawn("in a circle", printed):
        levels = np.asarray(image).astype(int)
        places = np.argwhere(np.abs(levels - levels[0, 0]).max(axis=2) > 20)
        offsets = places - (places.min(axis=0) + places.max(axis=0)) / 2
        sector = ((np.arctan2(*offsets.T) / np.pi + 1) * 8).astype(int) % 16
        reach = np.array([np.hypot(*offsets[sector == i].T).max() for i in range(16)])
        assert reach.min() > 0.75 * reach.max()


def test_a_line_to_write_on_is_longer_than_the_digit_is_wide(printed: Digits) -> None:
    for image in drawn("on a line", printed):
        levels = np.asarray(image).astype(int)
        different = np.abs(levels - levels[0, 0]).max(axis=2) > 20
        row = different.sum(axis=1).argmax()
        start, end = np.flatnonzero(different[row])[[0, -1]]
        assert different[row, start:end].all()
        beyond = different[: row - 10].any(axis=0).nonzero()[0]
        assert start < beyond.min() - 5 and beyond.max() + 5 < end
        assert row > 0.6 * (np.argwhere(different.any(axis=1)).max())


def test_squares_have_lines_from_edge_to_edge(printed: Digits) -> None:
    for image in drawn("on squares", printed):
        levels = np.asarray(image).astype(int)
        different = np.abs(levels - np.median(levels, axis=(0, 1))).max(axis=2) > 20
        level, upright = different.all(axis=1), different.all(axis=0)
        assert level.sum() >= 1 and upright.sum() >= 1
        assert different[~level][:, ~upright].sum() > 100  # the digit


def test_large_canvases_are_white_black_or_coloured(printed: Digits) -> None:
    corners = {image.getpixel((0, 0)) for image in drawn("large canvas", printed)}
    assert {(0, 0, 0), (255, 255, 255)} < corners


@pytest.mark.parametrize("kind", drawings.DRAWINGS)
def test_drawn_digits_remain_recognisable(printed: Digits, predictor: Predictor, kind: str) -> None:
    tiles = printed.images.numpy()
    draw = drawings.DRAWINGS[kind]
    read = [normalise(decode(draw(np.random.default_rng(index), tiles[index % 10]))).pixels for index in range(30)]
    right = [answer.digit == index % 10 for index, answer in enumerate(predictor.predict(np.stack(read)))]
    assert sum(right) >= 15  # three by chance
