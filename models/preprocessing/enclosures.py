"""Finds boxes and circles drawn around a digit, such as the boxes of forms.

Components are those of a raster with 64 cells on its longer side; lengths are in cells.
"""

import numpy as np
from numpy.typing import NDArray

from models.preprocessing.morphology import Labels, bounding_boxes

MIN_SIDE = 8  # cells of an enclosure's shorter side
MIN_ENCLOSED = 1 / 4  # size of what is enclosed relative to the enclosure's longer side; less is a speck
MAX_MARK = 0.38  # size relative to a circle's diameter; all this small is a mark in a 0, or the eye of an open 4
ZERO_ASPECT = 1.1  # height over width of a 0 with a slash; a rounder outline is a circle around a 1

Positions = NDArray[np.int64]
"""Rows and columns [N, 2] of one component's cells."""


def find_enclosures(labels: Labels, mass: NDArray[np.integer | np.floating]) -> list[int]:
    """Returns the labels of components that enclose a digit.

    mass: the ink of each label, from 0 on; components with none count as removed and cannot be enclosed digits.
    """
    low, high = bounding_boxes(labels)
    reach = high - low
    has_ink = mass[1:] > 0

    def positions(component: int) -> Positions:
        return np.argwhere(labels == component + 1)

    def encloses_digit(component: int) -> bool:
        within = has_ink & (low > low[component]).all(axis=1) & (high < high[component]).all(axis=1)
        large = reach.max(axis=1) > MIN_ENCLOSED * reach[component].max()
        enclosed = np.flatnonzero(within & large).tolist()
        if not enclosed:
            return False
        outline = positions(component)
        if _is_box(outline):
            return True
        if not _is_circle(outline):
            return False
        if (high[enclosed].max(axis=0) - low[enclosed].min(axis=0)).max() <= MAX_MARK * reach[component].max():
            return False
        height, width = reach[component]
        return bool(height <= ZERO_ASPECT * width) or len(enclosed) > 1 or not _is_straight(positions(enclosed[0]))

    candidates = np.flatnonzero(reach.min(axis=1) >= MIN_SIDE).tolist()
    return [component + 1 for component in candidates if encloses_digit(component)]


def _is_straight(stroke: Positions) -> bool:
    """Whether the stroke's deviation across its principal axis is below a quarter of that along it."""
    across, along = np.linalg.eigvalsh(np.cov(stroke.T))
    return bool(across < 0.25**2 * along)


def _is_box(outline: Positions) -> bool:
    """Whether its middle is empty and all four corners have ink, as no round outline has."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    band = (high - low) / 10
    if ((outline >= low + 2 * band) & (outline <= high - 2 * band)).all(axis=1).any():
        return False
    corner = ((outline < low + band) | (outline > high - band)).all(axis=1)
    return len({tuple(position > (low + high) / 2) for position in outline[corner]}) == 4


def _is_circle(outline: Positions) -> bool:
    """Whether it is about as high as wide, empty in its middle, and closed in at least 15 of 16 directions."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    radii = (high - low) / 2
    if radii.min() < 0.75 * radii.max():
        return False
    down, right = ((outline - (low + high) / 2) / radii).T
    directions = np.unique((np.arctan2(down, right) / np.pi * 8 + 8).astype(int) % 16)
    return bool(len(directions) >= 15 and (np.hypot(down, right) > 0.6).mean() >= 0.98)
