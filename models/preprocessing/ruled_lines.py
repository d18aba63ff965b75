"""Removes ruled lines, straight and thin: those of ruled and squared paper, and one drawn below a digit.

Lines are detected on a raster with 64 cells on its longer side, then traced and erased pixel by pixel. Lengths are in
cells unless they are said to be in pixels. Ink is float32 [h, w], 0..255.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.preprocessing import morphology
from models.preprocessing.morphology import Mask, Plane

Runs = NDArray[np.int32]
"""For each pixel the length of the vertical run of ink that it belongs to; 0 on the background."""

INK = 32  # the level, of 255, that a cell of a line or a stroke exceeds
FAINT_INK = 8  # the same for a pixel; edges of lines and strokes are softer than their middle
MAX_THICKNESS = 3  # cells
MIN_LENGTH = 8  # cells, of a line and of the digit that is written on it
MIN_DISTANCE = 4  # cells between two lines of paper


class Line(NamedTuple):
    """A line across a raster: the row where it meets the left edge and the one where it meets the right edge."""

    start: float
    end: float


class TracedLine(NamedTuple):
    """The pixels of a line within some rows of the image.

    whole: all of them; separate: those that no stroke crosses or covers; thickness: in pixels, without strokes;
    strength: the level of its ink, without strokes.
    """

    rows: slice
    whole: Mask
    separate: Mask
    thickness: float
    strength: float


def remove_ruled_lines(ink: Plane) -> Plane:
    """Erases ruled lines except where strokes cross them or run along them."""
    side = morphology.cell_side(ink.shape)
    return _remove_underline(_remove_paper_lines(ink, side), side)


def _remove_paper_lines(ink: Plane, side: int) -> Plane:
    """Erases lines from edge to edge: horizontal ones, and vertical ones unless a single one may be the stem of a 4.

    Returns the ink unchanged when too little else remains, or when the lines may be strokes of a digit that fills the
    image.
    """
    raster = _rasterise(ink)
    horizontal, vertical = _detect_lines(raster), _detect_lines(raster.T)
    if len(horizontal) < 2 and len(vertical) < 2:
        vertical = []
    if not (horizontal or vertical) or (len(horizontal) + len(vertical) < 3 and _touches_all_edges(raster)):
        return ink
    rows, separate_rows = _line_masks(ink, horizontal, side)
    columns, separate_columns = (mask.T for mask in _line_masks(np.ascontiguousarray(ink.T), vertical, side))
    crossings = rows & columns  # two lines that cross look as thick as a stroke
    erased: Plane = np.where(separate_rows | separate_columns | crossings, 0, ink)
    written = morphology.largest_component(_rasterise(erased))
    if not written.any() or np.ptp(np.nonzero(written), axis=1).max() < MIN_LENGTH:
        return ink
    is_squared = horizontal and len(vertical) > 1
    if not is_squared and not (_have_free_ends(horizontal, written) and _have_free_ends(vertical, written.T)):
        return ink
    return erased


def _touches_all_edges(raster: Mask) -> bool:
    """Whether there is ink within two cells of each edge."""
    edges = [raster[:2], raster[-2:], raster[:, :2], raster[:, -2:]]
    return all(bool(edge.any()) for edge in edges)


def _have_free_ends(lines: list[Line], written: Mask) -> bool:
    """Whether the digit touches fewer than half of the lines at the left end and at the right.

    The bars of a 5 or a 3 end at its stem.
    """
    touching = [_near_line(line, written) & written for line in lines]
    left, right = (sum(bool(touched[:, end].any()) for touched in touching) for end in (slice(2), slice(-2, None)))
    return not lines or 2 * max(left, right) < len(lines)


def _remove_underline(ink: Plane, side: int) -> Plane:
    """Erases one line that extends beyond the digit on it to both sides."""
    raster = _rasterise(ink)
    labels = morphology.connected_components(raster)
    low, high = morphology.bounding_boxes(labels)
    for component in np.flatnonzero((high - low)[:, 1] >= MIN_LENGTH).tolist():
        (top, left), (bottom, right) = low[component], high[component] + 1
        length = right - left
        lower = max(top, (top + bottom) // 2 - length // 12)
        lines = _detect_lines(labels[lower:bottom, left:right] == component + 1)
        if not lines:
            continue
        lowest = max(lines, key=sum)
        line = Line(lower + lowest.start, lower + lowest.end)
        around = raster[:, left:right]
        first, last = _digit_bounds(around & ~(_near_line(line, around) & _is_thin(around)))
        height = last[0] - first[0]
        overhang = min(first[1], length - 1 - last[1])
        # Otherwise it is the bar of a 4 or a 7, or the foot of a 2.
        if height < MIN_LENGTH or sum(line) / 2 < first[0] + 0.85 * height or overhang < height / 10:
            continue
        columns = slice(left * side, right * side)
        erased = ink[:, columns].copy()
        traced = _trace_line(erased, _vertical_runs(erased > FAINT_INK), line, side)
        if traced is None:
            continue
        erased[traced.rows][traced.separate] = 0
        touches_digit = bottom - top > length / 4
        if touches_digit and overhang < height / 2 and _is_same_pen(traced, erased):
            continue
        ink = ink.copy()
        ink[:, columns] = erased
        return ink
    return ink


def _is_same_pen(line: TracedLine, strokes: Plane) -> bool:
    """Whether the pen that drew the strokes may have drawn the line."""
    strength = np.median(strokes[strokes > INK])
    return bool(line.thickness > 0.6 * morphology.stroke_width(strokes) and line.strength > 0.8 * strength)


def _rasterise(ink: Plane) -> Mask:
    raster: Mask = morphology.cell_maxima(morphology.cells(ink)) > INK
    return raster


def _digit_bounds(raster: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last row and column of the longest component and of those at least a third as long."""
    low, high = morphology.bounding_boxes(morphology.connected_components(raster))
    if not len(low):
        return np.zeros(2, np.int64), np.zeros(2, np.int64)
    length = (high - low).max(axis=1)
    long = length >= length.max() / 3
    return low[long].min(axis=0), high[long].max(axis=0)


def _vertical_runs(mask: Mask) -> Runs:
    rows = np.arange(1, len(mask) + 1, dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(mask, 0, rows), axis=0)
    below = np.minimum.accumulate(np.where(mask, len(mask) + 1, rows)[::-1], axis=0)[::-1]
    runs: Runs = np.where(mask, below - above - 1, 0).astype(np.int32)
    return runs


def _is_thin(raster: Mask) -> Mask:
    thin: Mask = _vertical_runs(raster) <= MAX_THICKNESS
    return thin


def _detect_lines(raster: Mask) -> list[Line]:
    """Detects lines from the left edge to the right one, the clearest first.

    A line rises or falls by at most a twelfth of its length. 95 % of the columns have ink on it or one cell above or
    below; in 40 % it is thin, where no stroke crosses it.
    """
    height, width = raster.shape
    if width < MIN_LENGTH or raster.any(axis=0).mean() < 0.95:
        return []
    max_drop = width // 12

    def weigh(mask: Mask) -> NDArray[np.int64]:
        """2 for a cell and 1 for each neighbour above and below, so that weights peak along the middle of a line."""
        padded = np.pad(mask.astype(np.int64), [(max_drop + 1, max_drop + 1), (0, 0)])
        return padded[:-2] + 2 * padded[1:-1] + padded[2:]

    weights, thin_weights = weigh(raster), weigh(raster & _is_thin(raster))
    columns, rows = np.arange(width), np.arange(height)[:, None] + max_drop
    candidates: list[tuple[int, int, int, Line]] = []
    for drop in range(-max_drop, max_drop + 1):
        path = rows + np.rint(drop * (columns / (width - 1) - 0.5)).astype(int)
        along, thin = weights[path, columns], thin_weights[path, columns] > 0
        reaches_edges = (along[:, :2] > 0).any(axis=1) & (along[:, -2:] > 0).any(axis=1)
        covered = (along > 0).mean(axis=1) >= 0.95
        for row in np.flatnonzero(reaches_edges & covered & (thin.mean(axis=1) >= 0.4)).tolist():
            line = Line(row - drop / 2, row + drop / 2)
            candidates.append((int((along[row] > 1).sum()), int(along[row].sum()), -abs(drop), line))
    lines: list[Line] = []
    for *_, line in sorted(candidates, reverse=True):
        distances = [(line.start - other.start, line.end - other.end) for other in lines]
        # Closer ones meet, or are the same line.
        if all(min(ends) >= MIN_DISTANCE or max(ends) <= -MIN_DISTANCE for ends in distances):
            lines.append(line)
    return lines


def _near_line(line: Line, raster: Mask) -> Mask:
    """The cells within two cells above and below a line."""
    path = np.linspace(line.start, line.end, raster.shape[1])
    near: Mask = np.abs(np.arange(len(raster))[:, None] - path) <= 2
    return near


def _line_masks(ink: Plane, lines: list[Line], side: int) -> tuple[Mask, Mask]:
    """Masks [h, w] of all pixels of the lines, and of those separate from strokes."""
    whole, separate = np.zeros(ink.shape, bool), np.zeros(ink.shape, bool)
    if lines:
        runs = _vertical_runs(ink > FAINT_INK)
        for traced in filter(None, (_trace_line(ink, runs, line, side) for line in lines)):
            whole[traced.rows] |= traced.whole
            separate[traced.rows] |= traced.separate
    return whole, separate


def _trace_line(ink: Plane, runs: Runs, line: Line, side: int) -> TracedLine | None:
    """Finds the pixels of a line of the raster; None when they turn out to be no straight, thin line.

    runs: `_vertical_runs` of the ink; side: pixels of a cell's side.
    """
    within = slice(max(int((min(line) - 2) * side), 0), int((max(line) + 3) * side))
    ink, runs = ink[within], runs[within]
    rows, columns = np.arange(within.start, within.start + len(ink))[:, None], np.arange(ink.shape[1])
    thin = (runs > 0) & (runs <= MAX_THICKNESS * side)
    path = (np.linspace(line.start, line.end, len(columns)) + 0.5) * side
    for reach in (1.5 * side, side):  # fits the line to the thin ink nearest to it, twice
        distance = np.where(thin, np.abs(rows - path), np.inf)
        nearest, seen = distance.argmin(axis=0), distance.min(axis=0) <= reach
        if seen.mean() < 0.3:
            return None
        slope, intercept = np.polyfit(columns[seen], nearest[seen] + within.start, 1)
        path = intercept + slope * columns
    distance = np.abs(rows - path)
    on_line = thin & (distance <= side / 2 + 1)
    covered = on_line.any(axis=0)
    if not covered.any() or covered.sum() < 0.9 * (thin & (distance <= 1.5 * side)).any(axis=0).sum():
        return None
    # A stroke may run along most of a line, hence the lower quartile instead of the median.
    thickness, strength = (float(np.percentile((values * on_line).max(axis=0)[covered], 25)) for values in (runs, ink))
    no_stroke = ink <= 1.25 * strength
    separate = (distance <= (thickness + side) / 2) & (runs <= 1.4 * thickness + 1) & no_stroke
    return TracedLine(within, (distance <= thickness / 2 + 1) & no_stroke, separate, thickness, strength)
