import math
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.preprocessing import ink_segmentation

Line = Sequence[tuple[float, float]]

SEVEN: Line = [(115, 102), (185, 102), (140, 202)]
SLASH: Line = [(120, 198), (180, 102)]
BACKSLASH: Line = [(120, 102), (180, 198)]
UPRIGHT: Line = [(150, 200), (150, 100)]
STEP: Line = [(105, 140), (195, 140)]


def paper() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("L", (300, 300), 255)
    return picture, ImageDraw.Draw(picture)


def parts(picture: Image.Image) -> np.ndarray:
    return ink_segmentation.isolate_digit(ink_segmentation.segment(np.asarray(picture))[0])


def ring(middle: tuple[float, float], radii: tuple[float, float], start: float = 0, end: float = 360) -> Line:
    angles = [math.radians(start + (end - start) * i / 90) for i in range(91)]
    return [(middle[0] + radii[0] * math.cos(angle), middle[1] + radii[1] * math.sin(angle)) for angle in angles]


@pytest.mark.parametrize("tilt", [0, 6])
@pytest.mark.parametrize("digit", [[(120, 80), (180, 80), (140, 160)], [(120, 150), (150, 90)], None])
def test_a_box_is_removed_only_when_a_digit_is_in_it(digit: Line | None, tilt: int) -> None:
    picture, draw = paper()
    draw.line([(80, 20), (220, 20 + tilt), (220 - tilt, 200), (80 - tilt, 200 - tilt), (80, 20)], fill=0, width=5)
    draw.rectangle((175, 150, 183, 158), fill=0)
    if digit:
        draw.line(digit, fill=0, width=12)
        x, y = map(int, digit[0])
    found = parts(picture)
    assert found[:, 60:90].max() == (0 if digit else 255)
    assert not digit or found[y, x] == 255


def test_a_box_with_a_stroke_through_its_middle_stays() -> None:
    picture, draw = paper()
    draw.line([(80, 40), (220, 40), (220, 200), (80, 200), (80, 40)], fill=0, width=5)
    draw.line([(80, 120), (190, 120)], fill=0, width=5)
    draw.line([(110, 60), (190, 60), (190, 95)], fill=0, width=5)
    assert parts(picture)[:, 60:90].max() == 255


@pytest.mark.parametrize("width", [4, 8, 16])
@pytest.mark.parametrize(
    ("around", "marks", "removed"),
    [
        (ring((150, 150), (95, 100)), [SEVEN], True),
        (ring((150, 150), (100, 78)), [SEVEN], True),
        (ring((150, 150), (90, 110)), [SEVEN], True),
        (ring((150, 150), (95, 100), 25, 360), [SEVEN], True),  # not quite closed
        (ring((150, 150), (95, 100)), [SLASH], True),  # a 1: a 0 would be higher than it is wide
        (ring((150, 150), (95, 100)), [UPRIGHT], True),
        (ring((150, 150), (88, 110)), [[(120, 102), (180, 102)], [(180, 125), (150, 200)]], True),  # a 7 in two strokes
        (ring((150, 150), (88, 110)), [SLASH], False),
        (ring((150, 150), (88, 110)), [BACKSLASH], False),
        (ring((150, 150), (88, 110)), [UPRIGHT], False),
        (ring((150, 150), (95, 100), 45, 315), [SEVEN], False),  # open like a C
        (ring((150, 150), (125, 76)), [SEVEN], False),  # an ellipse
        ([*ring((150, 150), (95, 100)), (190, 150)], [SEVEN], False),  # a stroke reaches its middle
        (ring((150, 150), (95, 100)), [ring((150, 150), (26, 26))], False),  # a 0 with a mark in it
        (ring((150, 150), (95, 100)), [STEP, [(150, 200), (120, 105)]], True),  # a 4 in two strokes
    ],
)
def test_a_circle_is_removed_only_when_a_digit_is_in_it(
    width: int, around: Line, marks: list[Line], removed: bool
) -> None:
    picture, draw = paper()
    draw.line(around, fill=0, width=width)
    for mark in marks:
        draw.line(mark, fill=0, width=8)
    found = parts(picture)
    x, y = map(int, around[60 if len(around) > 60 else 0])
    assert found[y - 3 : y + 4, x - 3 : x + 4].max() == (0 if removed else 255)
    x, y = map(int, marks[0][0])
    assert found[y - 3 : y + 4, x - 3 : x + 4].max() == 255


def test_a_line_beside_the_corner_of_a_table_stays() -> None:
    picture, draw = paper()
    draw.polygon([(0, 0), (70, 0), (0, 90)], fill=0)
    draw.line([(20, 110), (50, 110)], fill=0, width=6)
    draw.rectangle((200, 100, 206, 104), fill=0)
    draw.line([(2, 150), (200, 150)], fill=0, width=6)
    assert parts(picture)[150, 60] == 255
