"""The fifteen corruptions of MNIST-C, after their description in Mu and Gilmer 2019 (arXiv 1906.02337).

Each takes a random generator and a plane, float64 [28, 28] in 0..1 with ink bright on black, and returns another such
plane. Severities are those that the paper states, or else those that its figures show.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from models.preprocessing.normalise import TILE_SIDE
from training.evaluation.generators.rendering import Pixels, encode, transformed

Plane = NDArray[np.float64]
Corruption = Callable[[Generator, Plane], Plane]


def picture(rng: Generator, tile: Pixels, corruption: str) -> bytes:
    """The PNG of a tile, uint8 [28, 28], under one of CORRUPTIONS."""
    return encode(255 * CORRUPTIONS[corruption](rng, tile / 255))


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
    shifted = [_transformed(plane, np.eye(2), (step * math.cos(angle), step * math.sin(angle))) for step in steps]
    return np.average(shifted, axis=0, weights=weights)


def _shear(rng: Generator, plane: Plane) -> Plane:
    return _transformed(plane, np.array([[1, _sign(rng) * 0.4], [0, 1]]))


def _scale(rng: Generator, plane: Plane) -> Plane:
    return _transformed(plane, np.eye(2) / 0.6)


def _rotate(rng: Generator, plane: Plane) -> Plane:
    angle = _sign(rng) * math.radians(rng.uniform(20, 30))
    return _transformed(plane, np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]))


def _brightness(rng: Generator, plane: Plane) -> Plane:
    return (plane + rng.uniform(0.5, 0.6)).clip(0, 1)


def _translate(rng: Generator, plane: Plane) -> Plane:
    down, right = (_sign(rng) * float(rng.integers(2, 5)) for _ in range(2))
    return _transformed(plane, np.eye(2), (right, down))


def _stripe(rng: Generator, plane: Plane) -> Plane:
    """Inverts a vertical band somewhere in the middle, or one along each side."""
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
    """Canny 1986: ridges of the smoothed gradient, where weak ones count if they are connected to strong ones."""
    down, right = np.gradient(np.pad(_blurred(plane, 1), 1))
    magnitude = np.hypot(down, right)
    octant = np.rint(np.arctan2(down, right) / (math.pi / 4)).astype(int) % 4
    steps = [(0, 1), (1, 1), (1, 0), (1, -1)]
    higher = [np.maximum(np.roll(magnitude, (y, x), (0, 1)), np.roll(magnitude, (-y, -x), (0, 1))) for y, x in steps]
    ridge = magnitude >= np.choose(octant, higher)
    strong, weak = ridge & (magnitude > 0.1), ridge & (magnitude > 0.05)
    edges = ndimage.binary_propagation(strong, np.ones((3, 3)), mask=weak)
    return np.where(edges[1:-1, 1:-1], 1.0, 0.0)


def _sign(rng: Generator) -> int:
    return int(rng.choice([-1, 1]))


def _across(rng: Generator) -> tuple[Plane, Plane]:
    """The ends (down, right) of a line from the left side of the tile to its right side."""
    return np.array([rng.uniform(4, 24), 1.0]), np.array([rng.uniform(4, 24), 26.0])


def _stamped(plane: Plane, points: Plane) -> Plane:
    """The plane with full ink at the points (down, right), [N, 2]."""
    plane = plane.copy()
    rows, columns = np.rint(points).astype(int).clip(0, TILE_SIDE - 1).T
    plane[rows, columns] = 1
    return plane


def _blurred(plane: Plane, sigma: float) -> Plane:
    blurred: Plane = ndimage.gaussian_filter(plane, sigma, mode="nearest", radius=math.ceil(3 * sigma))
    return blurred


def _transformed(plane: Plane, matrix: Plane, shift: tuple[float, float] = (0, 0)) -> Plane:
    image = transformed(Image.fromarray(plane.astype(np.float32)), matrix, Image.Resampling.BILINEAR, shift)
    return np.asarray(image, np.float64)


CORRUPTIONS: dict[str, Corruption] = {
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
