"""Digits in forms that MNIST, collected in America, hardly has: a barred 7, a 1 with a foot, an open 4 and others.

A form is text: strokes separated by ";", each of points "right,down" in 0..1 that a smooth curve joins, or a straight
line if there are two. A picture moves the points a little. It shows the digit drawn small, drawn large or photographed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.evaluation.generators.drawings import SUPERSAMPLING
from training.evaluation.generators.photographs import light, photograph
from training.evaluation.generators.rendering import Plane, black_on_white, cropped, placed, stroked

SEVENS = [
    ".05,.04 .95,.03; .95,.03 .62,.45 .4,1; .3,.52 .9,.47",
    ".06,.18 .08,.02; .08,.02 .95,.05; .95,.05 .35,1; .35,.5 .95,.5",
    ".02,.1 .35,.02 .65,.1 1,.02; 1,.02 .65,.5 .5,1; .4,.5 .98,.46",
]
ONES = [
    ".2,.25 .55,0; .55,0 .55,1; .15,1 .95,1",
    ".1,.32 .38,.18 .56,0; .56,0 .54,1; .2,.99 .9,.98",
]
UPSTROKES = [
    "0,.42 .6,0; .6,0 .6,1",
    ".02,.55 .3,.38 .55,0; .55,0 .52,1",
    ".06,.42 .36,.2 .62,.02; .62,.02 .55,.5 .58,1",
]
ZEROS = [
    ".5,0 .1,.2 .05,.7 .45,1 .9,.75 .92,.25 .5,0; .78,.12 .2,.9",
    ".55,.02 .12,.3 .12,.75 .5,1 .85,.7 .85,.25 .5,0; 1,0 0,1",
]
FOURS = [
    ".2,0 .05,.58; .05,.58 1,.58; .72,.15 .7,1",
    ".15,.05 .08,.4 .2,.56 .6,.56 .82,.5; .85,.02 .8,.5 .78,1",
    ".3,0 .02,.62; .02,.62 .98,.55; .65,.3 .6,1",
]
TWOS = [
    ".08,.22 .32,.02 .72,.05 .84,.3 .6,.65 .25,.95 .06,.97 .04,.82 .2,.76 .45,.88 .72,1 1,.9",
    ".15,.15 .45,0 .78,.12 .74,.4 .48,.72 .2,.98 .02,.92 .1,.76 .32,.8 .6,.95 .98,.97",
]

FORMS: dict[str, tuple[int, list[str]]] = {
    "seven with a bar": (7, SEVENS),
    "one with serif and foot": (1, ONES),
    "one with a long upstroke": (1, UPSTROKES),
    "crossed zero": (0, ZEROS),
    "open four": (4, FOURS),
    "two with a loop": (2, TWOS),
}
"""By name: the digit and its forms."""


def picture(rng: Generator, forms: Sequence[str]) -> bytes:
    """A picture of one of the forms."""
    form = forms[int(rng.integers(len(forms)))]
    look = rng.integers(3)
    if look == 0:
        length, side = round(rng.uniform(17, 25) * SUPERSAMPLING), 28 * SUPERSAMPLING
        digit = drawn(rng, form, length, rng.uniform(0.9, 3) * SUPERSAMPLING)
        return black_on_white(placed(rng, digit, side, side), SUPERSAMPLING)
    side = int(rng.integers(240, 480))
    length = round(side * rng.uniform(0.35, 0.75))
    digit = drawn(rng, form, length, length * rng.uniform(0.04, 0.1))
    if look == 1:
        return black_on_white(placed(rng, digit, side, side))
    ink = placed(rng, digit, side, side, (rng.uniform(0.15, 0.85), rng.uniform(0.15, 0.85)))
    return photograph(rng, ink, str(rng.choice(["black", "blue"])), light(rng, ink.shape, 0.3))


def drawn(rng: Generator, form: str, length: int, width: float, unsteady: float = 0.02) -> Plane:
    """Ink of a form, [h, w], cropped, about `length` pixels high, with strokes `width` pixels wide.

    It leans, is narrow or broad, and each point is moved by a normal deviate of `unsteady` times the length.
    """
    breadth = rng.uniform(0.5, 0.75)
    lean = rng.uniform(-0.05, 0.25)
    margin = round(width + 0.5 * length)
    image = Image.new("1", (2 * length + 2 * margin, length + 2 * margin))
    pen = ImageDraw.Draw(image)
    joints: dict[tuple[float, float], NDArray[np.float64]] = {}
    for stroke in form.split(";"):
        # The pen is not lifted between two strokes that share a point.
        points = np.array([joints.setdefault(p, np.array(p) + rng.normal(0, unsteady, 2)) for p in points_of(stroke)])
        right = points[:, 0] * breadth + (1 - points[:, 1]) * lean
        line = smooth(np.stack([right, points[:, 1]], axis=1)) * (length - width) + margin
        pen.line([(x, y) for x, y in line.tolist()], fill=1)
    return cropped(stroked(np.asarray(image), width), 0.05)


def points_of(stroke: str) -> list[tuple[float, float]]:
    pairs = (point.split(",") for point in stroke.split())
    return [(float(right), float(down)) for right, down in pairs]


def smooth(points: NDArray[np.float64], steps: int = 16) -> NDArray[np.float64]:
    """A curve through all points [N, 2], with `steps` segments between neighbours (Catmull and Rom 1974)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps + 1)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3))
    return np.concatenate(pieces)
