"""Digits in forms that MNIST, collected in America, hardly has: a barred 7, a 1 with a foot, an open 4 and others.

A form is a list of strokes. A stroke is a list of points (right, down) in 0..1, joined by a smooth curve, or by a
straight line if there are two. A picture moves the points a little, and shows the digit drawn small, drawn large or
photographed.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.evaluation.generators.drawings import SUPERSAMPLING
from training.evaluation.generators.photographs import light, photograph
from training.evaluation.generators.rendering import Plane, black_on_white, cropped, placed, stroked

Stroke = Sequence[tuple[float, float]]
Form = Sequence[Stroke]

SEVENS: list[Form] = [
    [[(0.05, 0.04), (0.95, 0.03)], [(0.95, 0.03), (0.62, 0.45), (0.4, 1.0)], [(0.3, 0.52), (0.9, 0.47)]],
    [
        [(0.06, 0.18), (0.08, 0.02)],
        [(0.08, 0.02), (0.95, 0.05)],
        [(0.95, 0.05), (0.35, 1.0)],
        [(0.35, 0.5), (0.95, 0.5)],
    ],
    [
        [(0.02, 0.1), (0.35, 0.02), (0.65, 0.1), (1.0, 0.02)],
        [(1.0, 0.02), (0.65, 0.5), (0.5, 1.0)],
        [(0.4, 0.5), (0.98, 0.46)],
    ],
]
ONES: list[Form] = [
    [[(0.2, 0.25), (0.55, 0.0)], [(0.55, 0.0), (0.55, 1.0)], [(0.15, 1.0), (0.95, 1.0)]],
    [[(0.1, 0.32), (0.38, 0.18), (0.56, 0.0)], [(0.56, 0.0), (0.54, 1.0)], [(0.2, 0.99), (0.9, 0.98)]],
]
UPSTROKES: list[Form] = [
    [[(0.0, 0.42), (0.6, 0.0)], [(0.6, 0.0), (0.6, 1.0)]],
    [[(0.02, 0.55), (0.3, 0.38), (0.55, 0.0)], [(0.55, 0.0), (0.52, 1.0)]],
    [[(0.06, 0.42), (0.36, 0.2), (0.62, 0.02)], [(0.62, 0.02), (0.55, 0.5), (0.58, 1.0)]],
]
ZEROS: list[Form] = [
    [
        [(0.5, 0.0), (0.1, 0.2), (0.05, 0.7), (0.45, 1.0), (0.9, 0.75), (0.92, 0.25), (0.5, 0.0)],
        [(0.78, 0.12), (0.2, 0.9)],
    ],
    [
        [(0.55, 0.02), (0.12, 0.3), (0.12, 0.75), (0.5, 1.0), (0.85, 0.7), (0.85, 0.25), (0.5, 0.0)],
        [(1.0, 0.0), (0.0, 1.0)],
    ],
]
FOURS: list[Form] = [
    [[(0.2, 0.0), (0.05, 0.58)], [(0.05, 0.58), (1.0, 0.58)], [(0.72, 0.15), (0.7, 1.0)]],
    [[(0.15, 0.05), (0.08, 0.4), (0.2, 0.56), (0.6, 0.56), (0.82, 0.5)], [(0.85, 0.02), (0.8, 0.5), (0.78, 1.0)]],
    [[(0.3, 0.0), (0.02, 0.62)], [(0.02, 0.62), (0.98, 0.55)], [(0.65, 0.3), (0.6, 1.0)]],
]
TWOS: list[Form] = [
    [[
        (0.08, 0.22), (0.32, 0.02), (0.72, 0.05), (0.84, 0.3), (0.6, 0.65), (0.25, 0.95),
        (0.06, 0.97), (0.04, 0.82), (0.2, 0.76), (0.45, 0.88), (0.72, 1.0), (1.0, 0.9),
    ]],
    [[
        (0.15, 0.15), (0.45, 0.0), (0.78, 0.12), (0.74, 0.4), (0.48, 0.72), (0.2, 0.98),
        (0.02, 0.92), (0.1, 0.76), (0.32, 0.8), (0.6, 0.95), (0.98, 0.97),
    ]],
]  # fmt: skip

FORMS: dict[str, tuple[int, list[Form]]] = {
    "seven with a bar": (7, SEVENS),
    "one with serif and foot": (1, ONES),
    "one with a long upstroke": (1, UPSTROKES),
    "crossed zero": (0, ZEROS),
    "open four": (4, FOURS),
    "two with a loop": (2, TWOS),
}
"""By name: the digit and its forms."""


def picture(rng: Generator, forms: Sequence[Form]) -> bytes:
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


def drawn(rng: Generator, form: Form, length: int, width: float, unsteady: float = 0.02) -> Plane:
    """Ink of a form, [h, w], cropped, about `length` pixels high, with strokes `width` pixels wide.

    It leans, is narrow or broad, and each point is moved by a normal deviate of `unsteady` times the length.
    """
    breadth = rng.uniform(0.5, 0.75)
    lean = rng.uniform(-0.05, 0.25)
    margin = round(width + 0.5 * length)
    image = Image.new("1", (2 * length + 2 * margin, length + 2 * margin))
    pen = ImageDraw.Draw(image)
    joints: dict[tuple[float, float], NDArray[np.float64]] = {}
    for stroke in form:
        # The pen is not lifted between two strokes that share a point.
        points = np.array([joints.setdefault(at, np.array(at) + rng.normal(0, unsteady, 2)) for at in stroke])
        right = points[:, 0] * breadth + (1 - points[:, 1]) * lean
        line = smooth(np.stack([right, points[:, 1]], axis=1)) * (length - width) + margin
        pen.line([(x, y) for x, y in line.tolist()], fill=1)
    return cropped(stroked(np.asarray(image), width), 0.05)


def smooth(points: NDArray[np.float64], steps: int = 16) -> NDArray[np.float64]:
    """A curve through all points [N, 2], with `steps` segments between neighbours (Catmull and Rom 1974)."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps + 1)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - 3 * c + d - a) * t**3))
    return np.concatenate(pieces)
