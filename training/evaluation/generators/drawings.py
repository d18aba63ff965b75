"""Digits as people draw them on a screen: thin and thick pens, any size and offset, alone, in a box, on lines. PNG."""

import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from training.evaluation.generators.rendering import Pixels, Plane, black_on_white, encode, placed, redrawn, ruled_lines

PictureGenerator = Callable[[Generator, Pixels], bytes]
"""Draws the digit of a tile, uint8 [28, 28], and returns an encoded picture."""

SUPERSAMPLING = 8
"""Small pictures are drawn at this multiple of their size and averaged down."""


def thin_pen(rng: Generator, tile: Pixels) -> bytes:
    """28x28, strokes of 0.8 to 1.4 pixels, anywhere in the picture."""
    return _small(rng, tile, length=rng.uniform(15, 25), width=rng.uniform(0.8, 1.4))


def thick_pen(rng: Generator, tile: Pixels) -> bytes:
    """28x28, strokes of 3.2 to 4.4 pixels, in a digit large enough for its loops to stay open."""
    return _small(rng, tile, length=rng.uniform(22, 26.5), width=rng.uniform(3.2, 4.4))


def _small(rng: Generator, tile: Pixels, length: float, width: float) -> bytes:
    side = 28 * SUPERSAMPLING
    digit = redrawn(rng, tile, round(length * SUPERSAMPLING), width * SUPERSAMPLING)
    return black_on_white(placed(rng, digit, side, side), SUPERSAMPLING)


def large_canvas(rng: Generator, tile: Pixels) -> bytes:
    """200 to 500 pixels, of which the digit fills half or more."""
    side = int(rng.integers(200, 501))
    length = round(side * rng.uniform(0.5, 0.85))
    digit = redrawn(rng, tile, length, length * rng.uniform(0.04, 0.14))
    return _on_screen(rng, placed(rng, digit, side, round(side * rng.uniform(0.85, 1.2))))


def at_the_edge(rng: Generator, tile: Pixels) -> bytes:
    """28 to 200 pixels; the digit touches one edge of the picture or two, or fills it from edge to edge."""
    side = int(rng.choice([28, 28, 64, 112, 200]))
    scale = SUPERSAMPLING if side == 28 else 2
    length = round(side * scale * rng.choice([0.7, 0.8, 0.9, 1.0]))
    digit = redrawn(rng, tile, length, max(scale, length * rng.uniform(0.06, 0.13)))[: side * scale, : side * scale]
    edges = rng.choice([0.0, 1.0, np.nan], size=2, p=[0.4, 0.4, 0.2])
    if np.isnan(edges).all():
        edges[0] = 0.0
    position = np.where(np.isnan(edges), rng.uniform(size=2), edges)
    return black_on_white(placed(rng, digit, side * scale, side * scale, tuple(position)), scale)


def in_a_corner(rng: Generator, tile: Pixels) -> bytes:
    """400 to 1000 pixels, with a digit of 30 to 120 near one of the corners."""
    width, height = rng.integers(400, 1001, 2).tolist()
    digit, _, _ = _digit(rng, tile, 30, 120)
    position = np.abs(rng.integers(0, 2, 2) - rng.uniform(0.01, 0.12, 2))
    return _on_screen(rng, placed(rng, digit, height, width, tuple(position)))


def in_a_box(rng: Generator, tile: Pixels) -> bytes:
    """120 to 300 pixels, in the printed box of a form, grey to black, with some room between it and the digit."""
    digit, length, _ = _digit(rng, tile, 60, 160)
    room = rng.uniform(0.12, 0.35, 4) * length
    above, below, left, right = np.rint(room).astype(int).tolist()
    line = int(rng.integers(1, 2 + length // 50))
    boxed = np.pad(digit, ((above, below), (left, right)))
    boxed = np.pad(boxed, line, constant_values=float(rng.uniform(0.3, 1.0)))
    margin = int(rng.integers(8, 60))
    return _on_screen(rng, placed(rng, boxed, boxed.shape[0] + 2 * margin, boxed.shape[1] + 2 * margin))


def in_a_circle(rng: Generator, tile: Pixels) -> bytes:
    """120 to 400 pixels, in a circle drawn around the digit by hand: oval, unsteady, and not quite closed."""
    digit, _, width = _digit(rng, tile, 60, 160)
    radii = math.hypot(*digit.shape) / 2 * rng.uniform(1.15, 1.4) * rng.uniform(0.95, 1.1, 2) + width / 2
    angles = np.linspace(0, 2 * math.pi * rng.uniform(0.97, 1.05), 120) + rng.uniform(0, 2 * math.pi)
    unsteady = 1 + 0.02 * np.sin(2 * angles + rng.uniform(0, 6)) + 0.02 * np.sin(3 * angles + rng.uniform(0, 6))
    side = math.ceil(2.2 * radii.max())
    points = side / 2 + np.stack([np.cos(angles), np.sin(angles)], 1) * radii * unsteady[:, None]
    circle = Image.new("L", (side, side))
    pen = max(1, round(width * rng.uniform(0.3, 1)))
    ImageDraw.Draw(circle).line([(x, y) for x, y in points.tolist()], fill=255, width=pen, joint="curve")
    ink = np.maximum(np.asarray(circle, np.float32) / 255, placed(rng, digit, side, side, (0.5, 0.5)))
    margin = int(rng.integers(8, 40))
    return _on_screen(rng, np.pad(ink, margin))


def on_a_line(rng: Generator, tile: Pixels) -> bytes:
    """120 to 400 pixels, with a line to write on that is longer than the digit is wide, at its foot or near it."""
    digit, length, _ = _digit(rng, tile, 60, 160)
    left, right = np.rint(rng.uniform(0.15, 0.8, 2) * length).astype(int).tolist()
    ink = np.pad(digit, ((0, round(0.3 * length)), (left, right)))
    top = digit.shape[0] + round(rng.uniform(-0.04, 0.2) * length)
    line = ink[top : top + int(rng.integers(1, 2 + length // 30))]
    np.maximum(line, rng.uniform(0.4, 1), out=line)
    margins = rng.integers(15, 60, 4).reshape(2, 2)
    return _on_screen(rng, np.pad(ink, margins))


def on_squares(rng: Generator, tile: Pixels) -> bytes:
    """100 to 400 pixels, on squared paper, grey to nearly as dark as the pen; the digit is one to four squares high."""
    digit, length, _ = _digit(rng, tile, 60, 200)
    height, width = np.rint(rng.uniform(1.2, 2, 2) * length).astype(int).tolist()
    ink = placed(rng, digit, height, width)
    lines = ruled_lines(rng, ink.shape, length * rng.uniform(0.25, 0.8), squared=True)
    return _on_screen(rng, np.maximum(ink, rng.uniform(0.2, 0.8) * lines))


def _digit(rng: Generator, tile: Pixels, shortest: int, longest: int) -> tuple[Plane, int, float]:
    """Ink of a digit, and its length and stroke width in pixels."""
    length = int(rng.integers(shortest, longest + 1))
    width = length * rng.uniform(0.05, 0.12)
    return redrawn(rng, tile, length, width), length, width


def _on_screen(rng: Generator, ink: Plane) -> bytes:
    """A PNG in black on white, white on black, or a dark colour on a light one."""
    ground, colour = np.full(3, 255.0), np.zeros(3)
    scheme = rng.integers(3)
    if scheme == 1:
        ground, colour = colour, ground
    elif scheme == 2:
        ground, colour = rng.uniform(200, 255, 3), rng.permutation([rng.uniform(0, 200), rng.uniform(0, 90), 20])
    levels: Plane = ground.astype(np.float32) + ink[..., None] * (colour - ground).astype(np.float32)
    return encode(levels)


DRAWINGS: dict[str, PictureGenerator] = {
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
