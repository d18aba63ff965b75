"""The fifteen kinds of damage of MNIST-C, from their description in Mu and Gilmer 2019 (arXiv 1906.02337).

Each takes a generator and a tile, uint8 [28, 28] with ink bright on black, and returns a picture of the same shape.
Strengths follow the paper where it states them, and its figures where not.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float64]
Damage = Callable[[Generator, Plane], Plane]

TILE_SIDE = 28


def damaged(rng: Generator, tile: Pixels, kind: str) -> Pixels:
    """A tile with the damage of that name from KINDS."""
    plane = KINDS[kind](rng, tile / 255)
    levels: Pixels = np.rint(plane.clip(0, 1) * 255).astype(np.uint8)
    return levels


def _shot_noise(rng: Generator, plane: Plane) -> Plane:
    return rng.poisson(plane * 4) / 4


def _impulse_noise(rng: Generator, plane: Plane) -> Plane:
    hit = rng.random(plane.shape) < 0.17
    return np.where(hit, rng.integers(0, 2, plane.shape), plane)


def _glass_blur(rng: Generator, plane: Plane) -> Plane:
    y, x = np.mgrid[:TILE_SIDE, :TILE_SIDE]
    plane = _blurred(plane, 0.7)
    for _ in range(2):
        down, right = rng.integers(-1, 2, (2, TILE_SIDE, TILE_SIDE))
        plane = plane[(y + down).clip(0, TILE_SIDE - 1), (x + right).clip(0, TILE_SIDE - 1)]
    return _blurred(plane, 0.7)


def _motion_blur(rng: Generator, plane: Plane) -> Plane:
    angle = math.radians(rng.uniform(-45, 45))
    steps = np.arange(11)
    weights = np.exp(-(steps**2) / (2 * 3**2))
    shifted = [_shifted(plane, step * math.sin(angle), step * math.cos(angle)) for step in steps]
    return np.average(shifted, axis=0, weights=weights)


def _shear(rng: Generator, plane: Plane) -> Plane:
    return _mapped(plane, np.array([[1, _sign(rng) * 0.4], [0, 1]]))


def _scale(rng: Generator, plane: Plane) -> Plane:
    return _mapped(plane, np.eye(2) / 0.6)


def _rotate(rng: Generator, plane: Plane) -> Plane:
    angle = _sign(rng) * math.radians(rng.uniform(20, 30))
    return _mapped(plane, np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]))


def _brightness(rng: Generator, plane: Plane) -> Plane:
    return (plane + rng.uniform(0.5, 0.6)).clip(0, 1)


def _translate(rng: Generator, plane: Plane) -> Plane:
    down, right = (_sign(rng) * float(rng.integers(2, 5)) for _ in range(2))
    return _shifted(plane, down, right)


def _stripe(rng: Generator, plane: Plane) -> Plane:
    """A vertical band inverted: one somewhere in the middle, or one along either side."""
    plane = plane.copy()
    if rng.random() < 0.5:
        left = int(rng.integers(7, 15))
        plane[:, left : left + 7] = 1 - plane[:, left : left + 7]
    else:
        plane[:, :7] = 1 - plane[:, :7]
        plane[:, 21:] = 1 - plane[:, 21:]
    return plane


def _fog(rng: Generator, plane: Plane) -> Plane:
    cloud = np.zeros_like(plane)
    for octave in (2, 4, 8, 16):
        noise = Image.fromarray(rng.random((octave + 1, octave + 1)).astype(np.float32))
        cloud += np.asarray(noise.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.BILINEAR)) * 2 / octave
    cloud = (cloud - cloud.min()) / np.ptp(cloud)
    foggy: Plane = (plane + 1.5 * cloud) / 2.5
    return foggy


def _spatter(rng: Generator, plane: Plane) -> Plane:
    drops = _blurred(rng.normal(size=plane.shape), 1)
    cover = ((drops - np.quantile(drops, 0.86)) / drops.std() * 2).clip(0, 1) * 0.7
    spattered: Plane = plane * (1 - cover) + 0.8 * cover
    return spattered


def _dotted_line(rng: Generator, plane: Plane) -> Plane:
    start, end = _across(rng)
    dots = np.linspace(start, end, 12)
    return _stamped(plane, dots)


def _zigzag(rng: Generator, plane: Plane) -> Plane:
    start, end = _across(rng)
    corners = np.linspace(start, end, 9)
    corners[1::2, 0] += 2.5
    corners[::2, 0] -= 2.5
    return _stamped(plane, np.concatenate([np.linspace(a, b, 12) for a, b in itertools.pairwise(corners)]))


def _canny_edges(rng: Generator, plane: Plane) -> Plane:
    """Canny 1986: smoothed gradients, thinned across the edge, weak ones kept where they hang on to strong ones."""
    smooth = np.pad(_blurred(plane, 1), 1)
    down, right = np.gradient(smooth)
    size = np.hypot(down, right)
    octant = np.rint(np.arctan2(down, right) / (math.pi / 4)).astype(int) % 4
    steps = [(0, 1), (1, 1), (1, 0), (1, -1)]
    higher = [np.maximum(np.roll(size, step, (0, 1)), np.roll(size, (-step[0], -step[1]), (0, 1))) for step in steps]
    ridge = size >= np.choose(octant, higher)
    weak, edges = ridge & (size > 0.05), ridge & (size > 0.1)
    while True:
        grown = weak & (np.max([np.roll(edges, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)], axis=0))
        if (grown == edges).all():
            return np.where(edges[1:-1, 1:-1], 1.0, 0.0)
        edges = grown


def _sign(rng: Generator) -> int:
    return int(rng.choice([-1, 1]))


def _across(rng: Generator) -> tuple[Plane, Plane]:
    """The two ends (down, right) of a line from the left side of the tile to the right, through its middle half."""
    return np.array([rng.uniform(4, 24), 1.0]), np.array([rng.uniform(4, 24), 26.0])


def _stamped(plane: Plane, points: Plane) -> Plane:
    """Full ink at points [N, 2]."""
    plane = plane.copy()
    rows, columns = np.rint(points).astype(int).clip(0, TILE_SIDE - 1).T
    plane[rows, columns] = 1
    return plane


def _blurred(plane: Plane, sigma: float) -> Plane:
    reach = math.ceil(3 * sigma)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(plane, [(reach, reach) if axis == i else (0, 0) for i in (0, 1)], mode="edge")
        shifts = [weight * np.take(padded, range(i, i + TILE_SIDE), axis) for i, weight in enumerate(weights)]
        plane = np.sum(shifts, axis=0)
    return plane


def _mapped(plane: Plane, matrix: Plane) -> Plane:
    """The picture whose pixel (right, down) from the middle shows the one at matrix @ (right, down)."""
    middle = np.full(2, TILE_SIDE / 2)
    offset = middle - matrix @ middle
    data = (*matrix[0], offset[0], *matrix[1], offset[1])
    image = Image.fromarray(plane.astype(np.float32))
    moved = image.transform((TILE_SIDE, TILE_SIDE), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(moved, np.float64)


def _shifted(plane: Plane, down: float, right: float) -> Plane:
    image = Image.fromarray(plane.astype(np.float32))
    data = (1, 0, -right, 0, 1, -down)
    moved = image.transform((TILE_SIDE, TILE_SIDE), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(moved, np.float64)


KINDS: dict[str, Damage] = {
    "shot noise": _shot_noise,
    "impulse noise": _impulse_noise,
    "glass blur": _glass_blur,
    "motion blur": _motion_blur,
    "shear": _shear,
    "scale": _scale,
    "rotate": _rotate,
    "brightness": _brightness,
    "translate": _translate,
    "stripe": _stripe,
    "fog": _fog,
    "spatter": _spatter,
    "dotted line": _dotted_line,
    "zigzag": _zigzag,
    "canny edges": _canny_edges,
}
