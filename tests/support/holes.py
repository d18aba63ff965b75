"""Counts the holes of a drawn digit."""

import numpy as np
from scipy import ndimage


def holes(ink: np.ndarray) -> int:
    """The number of background regions of more than 3 pixels that the digit encloses."""
    background, _ = ndimage.label(np.pad(ink < 0.5, 1, constant_values=True))
    sizes = np.bincount(background.ravel())[1:]
    return int((sizes > 3).sum()) - 1
