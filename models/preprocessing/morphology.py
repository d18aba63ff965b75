"""Image operations on planes, float32 [h, w], and on masks, bool [h, w]: resizing, dilation, connected components.

Pillow and NumPy have no connected components, and Pillow's MaxFilter takes time in the square of the window's side.
"""

from math import ceil
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int64]
P = TypeVar("P", Plane, Mask)

INK_LEVEL = 96  # the level, of 255, that pixels of a stroke exceed
RASTER_SIDE = 64  # cells on the longer side of a raster or a thumbnail: noise is gone, strokes are still visible


def resize(plane: Plane, shape: tuple[int, int], resampling: Image.Resampling = Image.Resampling.BILINEAR) -> Plane:
    """Resizes a plane to shape (height, width)."""
    return np.asarray(Image.fromarray(plane).resize(shape[::-1], resampling))


def thumbnail(plane: Plane) -> Plane:
    """Averages a plane down to 64 pixels on its longer side; a smaller one keeps its size."""
    scale = min(1.0, RASTER_SIDE / max(plane.shape))
    height, width = (max(1, round(side * scale)) for side in plane.shape)
    return resize(plane, (height, width), Image.Resampling.BOX)


def cell_side(shape: tuple[int, ...]) -> int:
    """Pixels of a cell's side in the raster of a plane of that shape."""
    return ceil(max(shape) / RASTER_SIDE)


def cells(plane: Plane) -> Plane:
    """Cuts a plane into the cells of its raster, [rows, side, columns, side]; past the edges it is padded with 0."""
    side = cell_side(plane.shape)
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % side), (0, -width % side)))
    return padded.reshape(len(padded) // side, side, -1, side)


def cell_maxima(raster: Plane) -> Plane:
    """The largest value in each of `cells`, [rows, columns]."""
    highest: Plane = raster.max(axis=1).max(axis=2)  # two reductions are much faster than one over both axes
    return highest


def border_pixels(planes: Plane, inset: int = 0) -> Plane:
    """The outermost pixels [P, ...] of planes [h, w, ...], or those `inset` pixels further in."""
    inner = planes[inset : len(planes) - inset, inset : planes.shape[1] - inset]
    return np.concatenate([inner[0], inner[-1], inner[1:-1, 0], inner[1:-1, -1]])


def dilate(plane: P, radius: int = 1) -> P:
    """The largest value in a square window of 2 * radius + 1 pixels around each pixel."""
    side = 2 * radius + 1
    for axis in (0, 1):
        wide = np.pad(plane, [(radius, radius) if axis == i else (0, 0) for i in (0, 1)], mode="edge")
        reach = 1
        while reach < side:  # each pass at most doubles the window, so that a window of n takes log n passes
            step = min(reach, side - reach)
            wide = np.maximum(wide[:-step], wide[step:]) if axis == 0 else np.maximum(wide[:, :-step], wide[:, step:])
            reach += step
        plane = wide
    return plane


def close(plane: Plane, radius: int, extend: bool = True) -> Plane:
    """Morphological closing: removes dark structures narrower than 2 * radius + 1 pixels.

    extend: treats the plane as continuing beyond its border, so that a shadow of which only a corner is visible stays.
    """
    padded = np.pad(plane, radius, mode="edge") if extend else plane
    closed = -dilate(-dilate(padded, radius), radius)
    return closed[radius:-radius, radius:-radius] if extend else closed


def box_blur(plane: Plane) -> Plane:
    """The mean of each pixel and its eight neighbours."""
    height, width = plane.shape
    padded = np.pad(plane, 1, mode="edge")
    mean: Plane = np.mean([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return mean


def connected_components(mask: Mask) -> Labels:
    """Labels the 8-connected components of a small mask 1.. and the background 0.

    Finds the runs of each row and joins those that touch runs of the row above (union-find).
    """
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    ends = np.nonzero(edges == -1)[1]
    runs = list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
    parents = list(range(len(runs)))

    def root(run: int) -> int:
        while parents[run] != run:
            run = parents[run]
        return run

    above: list[int] = []
    current: list[int] = []
    for run, (row, start, end) in enumerate(runs):
        if current and row != runs[current[0]][0]:
            above, current = (current if row == runs[current[0]][0] + 1 else []), []
        for other in above:
            if runs[other][1] <= end and runs[other][2] >= start:
                parents[root(run)] = root(other)
        current.append(run)

    labels = np.zeros(mask.shape, np.int64)
    numbers: dict[int, int] = {}
    for run, (row, start, end) in enumerate(runs):
        labels[row, start:end] = numbers.setdefault(root(run), len(numbers) + 1)
    return labels


def bounding_boxes(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last row and column of components 1.., each [components, 2]."""
    positions = np.argwhere(labels > 0)
    components = labels[labels > 0] - 1
    low = np.full((int(labels.max(initial=0)), 2), max(labels.shape))
    high = np.full_like(low, -1)
    np.minimum.at(low, components, positions)
    np.maximum.at(high, components, positions)
    return low, high


def largest_component(mask: Mask) -> Mask:
    """The component with the most pixels."""
    labels = connected_components(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: Mask = (labels == sizes.argmax()) & mask
    return largest


def stroke_width(ink: Plane) -> float:
    """The mean width of strokes in pixels: the area of ink over half the length of its outline."""
    mask = np.pad(ink > INK_LEVEL, 1)
    outline = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    return float(2 * mask.sum() / max(outline, 1))
