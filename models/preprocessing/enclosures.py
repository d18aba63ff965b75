"""What is drawn around a digit and is no part of it: a box as forms have them, or a circle.

Of parts 1.. of `planes.components` in a picture's raster of 64 blocks or so; sizes are in blocks.
"""

import numpy as np
from numpy.typing import NDArray

from models.preprocessing.morphology import extents

SMALLEST = 8
"""The shorter side of a box or circle at least, where the picture's longer side is 64."""
SPECK = 1 / 4
"""Of a box's longer side: what is smaller is no digit in it."""
SMALL = 0.38
"""Of a circle's diameter: what is smaller, all together, is a mark in a 0, or the eye of a hollow 4."""
TALL = 1.1
"""Height by width of what may be a 0 with a slash; rounder than that, it is a circle around a 1."""

Places = NDArray[np.int64]
"""Rows and columns [N, 2] of one part's blocks."""


def surroundings(labels: NDArray[np.int64], mass: NDArray[np.integer | np.floating]) -> list[int]:
    """The parts that have a digit in them. mass: of each, from part 0 on; what has none is no digit."""
    low, high = extents(labels)
    reach = high - low
    is_digit = mass[1:] > 0

    def places(part: int) -> Places:
        return np.argwhere(labels == part + 1)

    def surrounds(part: int) -> bool:
        within = is_digit & (low > low[part]).all(axis=1) & (high < high[part]).all(axis=1)
        inner = np.flatnonzero(within & (reach.max(axis=1) > SPECK * reach[part].max())).tolist()
        if not inner:
            return False
        around = places(part)
        if _is_box(around):
            return True
        if not _is_circle(around):
            return False
        if (high[inner].max(axis=0) - low[inner].min(axis=0)).max() <= SMALL * reach[part].max():
            return False
        height, width = reach[part]
        return bool(height <= TALL * width) or len(inner) > 1 or not _is_straight(places(inner[0]))

    frames = np.flatnonzero(reach.min(axis=1) >= SMALLEST).tolist()
    return [part + 1 for part in frames if surrounds(part)]


def _is_straight(stroke: Places) -> bool:
    across, along = np.linalg.eigvalsh(np.cov(stroke.T))
    return bool(across < 0.25**2 * along)


def _is_box(around: Places) -> bool:
    """Whether its middle is empty, and there is ink in all four corners, where nothing round has any."""
    low, high = around.min(axis=0), around.max(axis=0)
    band = (high - low) / 10
    if ((around >= low + 2 * band) & (around <= high - 2 * band)).all(axis=1).any():
        return False
    corner = ((around < low + band) | (around > high - band)).all(axis=1)
    return len({tuple(place > (low + high) / 2) for place in around[corner]}) == 4


def _is_circle(around: Places) -> bool:
    """Whether it is about as high as wide, its middle empty, and open in one of sixteen directions at most."""
    low, high = around.min(axis=0), around.max(axis=0)
    radii = (high - low) / 2
    if radii.min() < 0.75 * radii.max():
        return False
    down, right = ((around - (low + high) / 2) / radii).T
    directions = np.unique((np.arctan2(down, right) / np.pi * 8 + 8).astype(int) % 16)
    return bool(len(directions) >= 15 and (np.hypot(down, right) > 0.6).mean() >= 0.98)
