"""Digits as people draw them on a screen: thin and thick pens, any size and place, alone, in a box, on lines. PNG.

Each kind takes a generator and a tile, uint8 [28, 28], and gives the bytes of a picture of its digit.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from training.evaluation.generators.redraw import Pixels, Plane, encoded, written

Kind = Callable[[Generator, Pixels], bytes]

FINE = 8
"""Small pictures are drawn at this multiple of their size and averaged down."""


def thin_pen(rng: Generator, tile: Pixels) -> bytes:
    """28x28, strokes of 0.8 to 1.4 pixels, anywhere in the picture."""
    return _small(rng, tile, length=rng.uniform(15, 25), width=rng.uniform(0.8, 1.4))


def thick_pen(rng: Generator, tile: Pixels) -> bytes:
    """28x28, strokes of 3.2 to 4.4 pixels, in a digit large enough for its loops to stay open."""
    return _small(rng, tile, length=rng.uniform(22, 26.5), width=rng.uniform(3.2, 4.4))


def _small(rng: Generator, tile: Pixels, length: float, width: float) -> bytes:
    side = 28 * FINE
    digit = written(rng, tile, round(length * FINE), width * FINE)
    fine = placed(rng, digit, side, side)
    levels = np.asarray(Image.fromarray(fine).reduce(FINE))
    return encoded(255 - 255 * levels)


def large_canvas(rng: Generator, tile: Pixels) -> bytes:
    """200 to 500 pixels, filled by the digit to a half or more; every third on a dark screen, some in colour."""
    side = int(rng.integers(200, 501))
    length = round(side * rng.uniform(0.5, 0.85))
    digit = written(rng, tile, length, length * rng.uniform(0.04, 0.14))
    return encoded(_coloured(rng, placed(rng, digit, side, round(side * rng.uniform(0.85, 1.2)))))


def at_the_edge(rng: Generator, tile: Pixels) -> bytes:
    """28 to 200 pixels; the digit touches one edge of the picture or two, or fills it from edge to edge."""
    side = int(rng.choice([28, 28, 64, 112, 200]))
    fine = FINE if side == 28 else 2
    length = round(side * fine * rng.choice([0.7, 0.8, 0.9, 1.0]))
    digit = written(rng, tile, length, max(fine, length * rng.uniform(0.06, 0.13)))[: side * fine, : side * fine]
    corner = rng.choice([0.0, 1.0, np.nan], size=2, p=[0.4, 0.4, 0.2])
    if np.isnan(corner).all():
        corner[0] = 0.0
    place = np.where(np.isnan(corner), rng.uniform(size=2), corner)
    ink = placed(rng, digit, side * fine, side * fine, tuple(place))
    return encoded(255 - 255 * np.asarray(Image.fromarray(ink).reduce(fine)))


def in_a_corner(rng: Generator, tile: Pixels) -> bytes:
    """400 to 1000 pixels, with a digit of 30 to 120 near one of the corners."""
    width, height = rng.integers(400, 1001, 2).tolist()
    length = int(rng.integers(30, 121))
    digit = written(rng, tile, length, max(1.5, length * rng.uniform(0.05, 0.12)))
    near = np.abs(rng.integers(0, 2, 2) - rng.uniform(0.01, 0.12, 2))
    return encoded(_coloured(rng, placed(rng, digit, height, width, (near[0], near[1]))))


def in_a_box(rng: Generator, tile: Pixels) -> bytes:
    """120 to 300 pixels, in the printed box of a form, grey to black, with some room between it and the digit."""
    length = int(rng.integers(60, 161))
    digit = written(rng, tile, length, length * rng.uniform(0.05, 0.12))
    room = rng.uniform(0.12, 0.35, 4) * length
    above, below, left, right = np.rint(room).astype(int).tolist()
    line = int(rng.integers(1, 2 + length // 50))
    boxed = np.pad(digit, ((above, below), (left, right)))
    boxed = np.pad(boxed, line, constant_values=float(rng.uniform(0.3, 1.0)))
    around = int(rng.integers(8, 60))
    return encoded(_coloured(rng, placed(rng, boxed, boxed.shape[0] + 2 * around, boxed.shape[1] + 2 * around)))


def in_a_circle(rng: Generator, tile: Pixels) -> bytes:
    """120 to 400 pixels, in a circle drawn around the digit by hand: oval, unsteady, and not quite closed."""
    length = int(rng.integers(60, 161))
    width = length * rng.uniform(0.05, 0.12)
    digit = written(rng, tile, length, width)
    radii = math.hypot(*digit.shape) / 2 * rng.uniform(1.15, 1.4) * rng.uniform(0.95, 1.1, 2) + width / 2
    turns = np.linspace(0, 2 * math.pi * rng.uniform(0.97, 1.05), 120) + rng.uniform(0, 2 * math.pi)
    unsteady = 1 + 0.02 * np.sin(2 * turns + rng.uniform(0, 6)) + 0.02 * np.sin(3 * turns + rng.uniform(0, 6))
    side = math.ceil(2.2 * radii.max())
    points = side / 2 + np.stack([np.cos(turns), np.sin(turns)], 1) * radii * unsteady[:, None]
    circle = Image.new("L", (side, side))
    pen = max(1, round(width * rng.uniform(0.3, 1)))
    ImageDraw.Draw(circle).line([(x, y) for x, y in points.tolist()], fill=255, width=pen, joint="curve")
    ink = np.maximum(np.asarray(circle, np.float32) / 255, placed(rng, digit, side, side, (0.5, 0.5)))
    around = int(rng.integers(8, 40))
    return encoded(_coloured(rng, np.pad(ink, around)))


def on_a_line(rng: Generator, tile: Pixels) -> bytes:
    """120 to 400 pixels, on a line to write on, longer than the digit is wide: above it, on it or somewhat below."""
    length = int(rng.integers(60, 161))
    digit = written(rng, tile, length, length * rng.uniform(0.05, 0.12))
    left, right = np.rint(rng.uniform(0.15, 0.8, 2) * length).astype(int).tolist()
    room = np.pad(digit, ((0, round(0.3 * length)), (left, right)))
    top = digit.shape[0] + round(rng.uniform(-0.04, 0.2) * length)
    line = room[top : top + int(rng.integers(1, 2 + length // 30))]
    np.maximum(line, rng.uniform(0.4, 1), out=line)
    around = rng.integers(15, 60, 4).reshape(2, 2)
    return encoded(_coloured(rng, np.pad(room, around)))


def on_squares(rng: Generator, tile: Pixels) -> bytes:
    """100 to 400 pixels, on the squares of a note book, grey to nearly as dark as the pen, a digit one to four high."""
    length = int(rng.integers(60, 201))
    digit = written(rng, tile, length, length * rng.uniform(0.05, 0.12))
    height, width = np.rint(rng.uniform(1.2, 2, 2) * length).astype(int).tolist()
    ink = placed(rng, digit, height, width)
    lines = rulings(rng, ink.shape, length * rng.uniform(0.25, 0.8), squared=True)
    return encoded(_coloured(rng, np.maximum(ink, rng.uniform(0.2, 0.8) * lines)))


def rulings(rng: Generator, shape: tuple[int, ...], distance: float, squared: bool, tilt: float = 0) -> Plane:
    """Level lines so many pixels apart, and upright ones where squared: 0 to 1. tilt: in degrees."""
    side = math.ceil(1.1 * math.hypot(*shape))
    thick = int(rng.integers(1, 2 + int(distance) // 25))
    level, upright = (
        (np.arange(side) + rng.uniform(0, distance)) % distance < thick * drawn for drawn in (True, squared)
    )
    lines = Image.fromarray((255 * (level[:, None] | upright)).astype(np.uint8))
    turned: Plane = np.asarray(lines.rotate(tilt, Image.Resampling.BICUBIC), np.float32) / np.float32(255)
    row, column = ((side - length) // 2 for length in shape)
    return turned[row : row + shape[0], column : column + shape[1]]


def placed(rng: Generator, digit: Plane, height: int, width: int, place: tuple[float, float] | None = None) -> Plane:
    """The digit in an empty plane; place is (down, right), 0 at one edge and 1 at the other, random if not given."""
    plane = np.zeros((max(height, digit.shape[0]), max(width, digit.shape[1])), np.float32)
    room = np.array(plane.shape) - digit.shape
    row, column = np.rint(room * (rng.uniform(size=2) if place is None else place)).astype(int)
    plane[row : row + digit.shape[0], column : column + digit.shape[1]] = digit
    return plane


def _coloured(rng: Generator, ink: Plane) -> Plane:
    """Black on white, white on black, or dark colour on a light one: RGB levels [h, w, 3]."""
    ground, colour = np.full(3, 255.0), np.zeros(3)
    look = rng.integers(3)
    if look == 1:
        ground, colour = colour, ground
    elif look == 2:
        ground, colour = rng.uniform(200, 255, 3), rng.permutation([rng.uniform(0, 200), rng.uniform(0, 90), 20])
    levels: Plane = ground.astype(np.float32) + ink[..., None] * (colour - ground).astype(np.float32)
    return levels


KINDS: dict[str, Kind] = {
    "thin pen": thin_pen,
    "thick pen": thick_pen,
    "large canvas": large_canvas,
    "at the edge": at_the_edge,
    "in a corner": in_a_corner,
    "in a box": in_a_box,
    "in a circle": in_a_circle,
    "on a line": on_a_line,
    "on squares": on_squares,
}
