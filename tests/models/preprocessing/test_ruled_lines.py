from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.preprocessing.ruled_lines import remove_ruled_lines

Stroke = Sequence[tuple[float, float]]

ONE: Stroke = [(135, 75), (165, 55), (165, 225)]
TWO: Stroke = [(110, 80), (150, 55), (185, 95), (110, 215), (190, 215)]
FOUR: Stroke = [(150, 60), (105, 160), (200, 160), (170, 160), (170, 230)]
FIVE: Stroke = [(185, 65), (125, 65), (120, 130), (170, 130), (185, 180), (150, 220), (110, 205)]
SEVEN: Stroke = [(105, 65), (190, 65), (140, 225)]
ZERO: Stroke = [(150, 60), (110, 100), (105, 170), (150, 225), (190, 180), (190, 100), (150, 60)]


def drawn(*strokes: Stroke, pen: int = 10, size: tuple[int, int] = (300, 300)) -> np.ndarray:
    picture = Image.new("L", size)
    draw = ImageDraw.Draw(picture)
    for stroke in strokes:
        draw.line(list(stroke), fill=255, width=pen, joint="curve")
    return np.asarray(picture, np.float32)


def ruled(
    distance: int, squared: bool = False, tilt: float = 0, pen: int = 3, strength: float = 255, first: int = 20
) -> np.ndarray:
    picture = Image.new("L", (600, 600))
    draw = ImageDraw.Draw(picture)
    for offset in range(first - 10 * distance, 600, distance):
        draw.line([(0, offset), (600, offset)], fill=255, width=pen)
        if squared:
            draw.line([(offset, 0), (offset, 600)], fill=255, width=pen)
    turned = picture.rotate(tilt, Image.Resampling.BICUBIC).crop((150, 150, 450, 450))
    return np.asarray(turned, np.float32) * (strength / 255)


def overlap(found: np.ndarray, digit: np.ndarray) -> float:
    """The intersection over union of their ink."""
    return float(((found > 96) & (digit > 96)).sum() / ((found > 96) | (digit > 96)).sum())


@pytest.mark.parametrize("tilt", [0, 2.5, -4])
@pytest.mark.parametrize("strength", [60, 150, 255])
@pytest.mark.parametrize(("distance", "squared"), [(75, False), (40, True), (90, True)])
@pytest.mark.parametrize("digit", [ONE, TWO, FOUR, FIVE, SEVEN, ZERO])
def test_ruled_lines_are_removed_and_the_digit_stays(
    digit: Stroke, distance: int, squared: bool, strength: float, tilt: float
) -> None:
    expected = drawn(digit)
    paper = ruled(distance, squared, tilt, strength=strength)
    picture = np.maximum(expected, paper)
    found = remove_ruled_lines(picture)
    assert overlap(found, expected) > 0.83
    left = found[40:-40, 40:-40] > 32  # a line that leaves the picture sideways stays
    assert left.sum() < 1.1 * (expected > 32).sum()
    assert (found <= picture).all()


def test_a_line_is_removed_wherever_it_crosses_a_digit() -> None:
    for row in range(70, 225, 10):
        paper = drawn([(0, row), (300, row)], pen=3)
        assert overlap(remove_ruled_lines(np.maximum(drawn(ZERO), paper)), drawn(ZERO)) > 0.95, row


@pytest.mark.parametrize("offset", [-3, 0, 3])
@pytest.mark.parametrize("strength", [100, 255])
def test_a_stroke_along_a_line_stays(strength: float, offset: int) -> None:
    """It is thicker than the line, or darker."""
    pen = 10 if strength == 255 else 4
    paper = drawn([(0, 65 + offset), (300, 65 + offset)], [(0, 140), (300, 140)], pen=3) * (strength / 255)
    found = remove_ruled_lines(np.maximum(drawn(SEVEN, pen=pen), paper))
    assert overlap(found, drawn(SEVEN, pen=pen)) > 0.75


@pytest.mark.parametrize("pen", [6, 12])
@pytest.mark.parametrize(
    "strokes",
    [
        [SEVEN],
        [FIVE],
        [FOUR],
        [[(100, 60), (200, 60), (100, 230), (200, 230)]],  # a 2 as a Z
        [[(150, 60), (150, 230)]],
        [[(100, 60), (200, 60), (200, 230), (100, 230)], [(100, 145), (200, 145)]],  # seven segments: 3
        [[(200, 60), (100, 60), (100, 230), (200, 230), (200, 145), (100, 145)]],  # 6
        [[(100, 60), (200, 60), (200, 230), (100, 230), (100, 60)], [(100, 145), (200, 145)]],  # 8
        [[(100, 60), (100, 145), (200, 145)], [(200, 60), (200, 230)]],  # 4
    ],
)
def test_a_digit_that_fills_the_picture_stays(strokes: list[Stroke], pen: int) -> None:
    picture = drawn(*strokes, pen=pen)
    rows, columns = np.nonzero(picture)
    tight = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (remove_ruled_lines(tight) == tight).all()
    assert (remove_ruled_lines(picture) == picture).all()


@pytest.mark.parametrize("margin", [0, 1, 3, 8])
@pytest.mark.parametrize("pen", [2, 4, 7])
@pytest.mark.parametrize(
    "strokes",
    [
        [[(135, 60), (80, 180), (190, 180)], [(155, 90), (155, 250)]],  # a 4 with a long bar
        [[(80, 60), (185, 60)], [(178, 60), (125, 240)]],  # a 7 whose bar removed too far
        [[(80, 60), (180, 60), (130, 130), (170, 150), (180, 190), (140, 238), (85, 220)]],  # a 3 with a flat top
        [[(100, 80), (150, 55), (185, 95), (110, 215)], [(80, 215), (210, 215)]],  # a 2 with a long foot
    ],
)
def test_a_thin_digit_with_little_margin_stays(strokes: list[Stroke], pen: int, margin: int) -> None:
    picture = drawn(*strokes, pen=pen)
    rows, columns = np.nonzero(picture)
    tight = np.pad(picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], margin)
    assert (remove_ruled_lines(tight) == tight).all()


def test_a_margin_line_is_removed_with_the_ruled_lines_and_never_taken_for_a_digit() -> None:
    paper = np.maximum(ruled(75), drawn([(60, 0), (60, 300)], pen=3))
    assert (remove_ruled_lines(paper) == paper).all()
    assert overlap(remove_ruled_lines(np.maximum(paper, drawn(FIVE))), drawn(FIVE)) > 0.9


@pytest.mark.parametrize("row", [200, 203, 206])
@pytest.mark.parametrize(
    ("strokes", "line", "width", "removed"),
    [
        ([[(110, 60), (180, 60), (140, 180)]], [(90, 5), (210, 9)], 4, True),
        ([[(150, 60), (150, 180)]], [(80, 0), (220, -4)], 4, True),  # a 1
        ([[(134, 150), (162, 150), (146, 185)]], [(124, 5), (174, 5)], 3, True),
        ([[(110, 60), (180, 60), (140, 200)]], [(90, 0), (210, 0)], 4, True),  # on the line
        ([[(110, 60), (180, 60), (140, 205)]], [(90, 0), (210, 6)], 4, True),
        ([[(110, 60), (180, 60), (140, 206)]], [(15, 0), (285, 0)], 9, True),  # far longer
        ([[(110, 60), (180, 60), (140, 206)]], [(60, 0), (240, 0)], 9, False),  # drawn by the same pen: a 2 with a foot
        ([[(110, 60), (180, 60), (140, 206)]], [(135, 0), (210, 0)], 4, False),  # extends only to the right
        ([[(110, 60), (180, 60), (140, 206)]], [(80, 0), (145, 0)], 4, False),  # extends only to the left
        ([[(110, 60), (180, 60), (120, 180)]], [(112, 5), (190, 5)], 8, False),  # the foot of a 2
        ([[(110, 60), (180, 60), (140, 180)]], [(90, 0), (210, 50)], 4, False),  # not level
        ([[(110, 60), (180, 60), (140, 170)]], [(90, 5), (210, 5)], 26, False),  # a block
        ([[(90, 185), (210, 185)]], [(70, 15), (230, 15)], 4, False),  # an equals sign
        ([[(110, 60), (180, 60), (140, 180)]], [(230, 5), (290, 5)], 4, False),  # beside it
        ([[(110, 40), (180, 40), (150, 120)], [(140, 225), (120, 280)]], [(90, -52), (210, -52)], 6, False),  # a bar
        ([[(110, 60), (180, 60), (120, 250)]], [(90, -50), (210, -50)], 4, False),  # a bar through the stem
    ],
)
def test_an_underline_is_removed_only_when_it_is_no_stroke_of_the_digit(
    strokes: list[Stroke], line: Stroke, width: int, removed: bool, row: int
) -> None:
    digit = drawn(*strokes)
    (left, start), (right, end) = line
    line = [(left, row + start), (right, row + end)]
    picture = np.maximum(digit, drawn(line, pen=width))
    found = remove_ruled_lines(picture)
    assert (overlap(found, digit) > 0.97) if removed else (found == picture).all()


@pytest.mark.parametrize("shape", [(1, 300), (1, 71), (300, 1), (3, 90), (57, 57), (64, 9), (65, 64), (129, 500)])
def test_ink_of_any_shape_is_only_erased(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for share in (0, 0.01, 0.3, 0.9, 1):
        ink = (255 * (rng.random(shape) < share)).astype(np.float32)
        ink[shape[0] // 2] = 255
        check_only_erased(ink)


@pytest.mark.processes
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pen", [1, 3])
@pytest.mark.parametrize("side", [300, 640])
@pytest.mark.parametrize("squared", [False, True])
def test_lines_at_any_distance_are_only_erased(side: int, pen: int, squared: bool) -> None:
    for distance in range(pen + 2, 60, 1 if side == 300 else 5):
        ink = np.zeros((side, side), np.float32)
        for offset in range(pen):
            ink[offset::distance] = 105
            ink[:, offset::distance] += 105 * squared
        ink[side // 4 : side // 2, side // 3 : side // 3 + 9] = 255
        check_only_erased(ink)


def check_only_erased(ink: np.ndarray) -> None:
    found = remove_ruled_lines(ink)
    assert found.shape == ink.shape and found.dtype == np.float32
    assert ((found == ink) | (found == 0)).all()
    assert found.any()
