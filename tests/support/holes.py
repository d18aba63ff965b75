"""Counts the holes of a drawn digit."""

import numpy as np


def holes(ink: np.ndarray) -> int:
    """The number of background regions that the digit encloses."""
    free = np.pad(ink < 0.5, 1, constant_values=True)
    left, count = {(int(y), int(x)) for y, x in zip(*np.nonzero(free), strict=True)}, 0
    while left:
        front = [left.pop()]
        size = 1
        while front:
            y, x = front.pop()
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            front += near
            size += len(near)
        count += size > 3
    return count - 1
