"""Shapes on planes: float32 [h, w], or masks of such."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def reduced(plane: Plane) -> Plane:
    """Averaged down to 64 pixels on the longest side, where noise is gone and strokes are still seen."""
    scale = min(1.0, 64 / max(plane.shape))
    height, width = (max(1, round(side * scale)) for side in plane.shape)
    return np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BOX))


def in_blocks(plane: Plane, side: int) -> Plane:
    """[rows, side, columns, side]: cut into squares of so many pixels, from the first corner; beyond it there are 0."""
    rows, columns = (-(-length // side) for length in plane.shape)
    padded = np.zeros((rows * side, columns * side), np.float32)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    return padded.reshape(rows, side, columns, side)


def peaks(blocks: Plane) -> Plane:
    """The largest value of each of `in_blocks`: [rows, columns]."""
    highest: Plane = blocks.max(axis=1).max(axis=2)  # one after the other, which is much faster than both at once
    return highest


def ring(planes: Plane, inset: int = 0) -> Plane:
    """The outermost pixels [P, ...] of planes [h, w, ...], or those that lie so many pixels further in."""
    inner = planes[inset : len(planes) - inset, inset : planes.shape[1] - inset]
    return np.concatenate([inner[0], inner[-1], inner[1:-1, 0], inner[1:-1, -1]])


def dilate(plane: Plane, radius: int = 1) -> Plane:
    """The largest value within a square of 2 * radius + 1 pixels around each pixel."""
    side = 2 * radius + 1
    for axis in (0, 1):
        wide = np.pad(plane, [(radius, radius) if axis == i else (0, 0) for i in (0, 1)], mode="edge")
        reach = 1
        while reach < side:  # what reaches as far twice, side by side, reaches twice as far
            step = min(reach, side - reach)
            wide = np.maximum(wide[:-step], wide[step:]) if axis == 0 else np.maximum(wide[:, :-step], wide[:, step:])
            reach += step
        plane = wide
    return plane


def closed(plane: Plane, radius: int, endless: bool = True) -> Plane:
    """A morphological closing: dark structures narrower than 2 * radius + 1 pixels go.

    endless: what reaches the border goes on behind it, so that a shadow of which a picture shows a corner is no stroke.
    """
    if not endless:
        return -dilate(-dilate(plane, radius), radius)
    beyond = np.pad(plane, radius, mode="edge")
    return -dilate(-dilate(beyond, radius), radius)[radius:-radius, radius:-radius]


def blurred(plane: Plane) -> Plane:
    """The mean of each pixel and its eight neighbours."""
    height, width = plane.shape
    padded = np.pad(plane, 1, mode="edge")
    mean: Plane = np.mean([padded[y : y + height, x : x + width] for y in range(3) for x in range(3)], axis=0)
    return mean


def components(mask: Mask) -> NDArray[np.int64]:
    """Labels 1.. for the 8-connected parts of a small mask, 0 elsewhere: runs of each row, joined to those above."""
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


def extents(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of parts 1.. of `components` the first and the last row and column, each [parts, 2]."""
    places = np.argwhere(labels > 0)
    parts = labels[labels > 0] - 1
    low = np.full((int(labels.max(initial=0)), 2), max(labels.shape))
    high = np.full_like(low, -1)
    np.minimum.at(low, parts, places)
    np.maximum.at(high, parts, places)
    return low, high


def largest(mask: Mask) -> Mask:
    """The part with the most pixels."""
    labels = components(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: Mask = (labels == sizes.argmax()) & mask
    return largest


def stroke_width(ink: Plane) -> float:
    """In pixels: an area of ink divided by half the length of its outline."""
    mask = np.pad(ink > 96, 1)
    outline = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    return float(2 * mask.sum() / max(outline, 1))
