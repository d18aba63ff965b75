"""Lines to write on, straight and thin: those of ruled and squared paper, and one below a digit.

They are found on a raster of blocks, to which sizes refer, and erased pixel by pixel. Ink is float32 [h, w], 0..255.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.preprocessing.morphology import Mask, Plane, components, extents, in_blocks, largest, peaks, stroke_width

RASTER = 64
"""Blocks on a picture's longer side."""
INK = 32
"""What a block has at least that is part of a line or a stroke."""
FAINT = 8
"""What a pixel has at least: the edges of lines and strokes are softer than their middle."""
THIN = 3
"""How thick a line is at most."""
SMALLEST = 8
"""How long a line is at least, and what is written on it."""


class Line(NamedTuple):
    """The row in which a line begins at the left edge of a raster, and in which it ends at the right; half rows too."""

    start: float
    end: float


class Strip(NamedTuple):
    """The pixels of a line, in these rows. apart: those where no stroke crosses it or covers it.

    thickness: in pixels; strength: its ink. Both are of the line alone.
    """

    rows: slice
    whole: Mask
    apart: Mask
    thickness: float
    strength: float


def unruled(ink: Plane) -> Plane:
    """Ink without lines to write on, but for where strokes cross them or lie along them."""
    block = -(-max(ink.shape) // RASTER)
    return _without_underline(_without_rulings(ink, block), block)


def _without_rulings(ink: Plane, block: int) -> Plane:
    """Without lines from edge to edge: level ones, and upright ones where one alone can not be the stem of a 4.

    Nothing is taken where little else is left, or where they are strokes of a digit that fills the picture.
    """
    raster = _raster(ink, block)
    level, upright = _lines(raster), _lines(raster.T)
    if len(level) < 2 and len(upright) < 2:
        upright = []
    if not (level or upright) or (len(level) + len(upright) < 3 and _fills(raster)):
        return ink
    across, apart_across = _pixels(ink, level, block)
    down, apart_down = (mask.T for mask in _pixels(np.ascontiguousarray(ink.T), upright, block))
    crossings = across & down  # where two lines make each other thick, as a stroke would
    erased: Plane = np.where(apart_across | apart_down | crossings, 0, ink)
    written = largest(_raster(erased, block))
    if not written.any() or np.ptp(np.nonzero(written), axis=1).max() < SMALLEST:
        return ink
    is_grid = level and len(upright) > 1
    if not is_grid and not (_end_free(level, written) and _end_free(upright, written.T)):
        return ink
    return erased


def _fills(raster: Mask) -> bool:
    """Whether there is ink within two blocks of all four edges."""
    sides = [raster[:2], raster[-2:], raster[:, :2], raster[:, -2:]]
    return all(bool(side.any()) for side in sides)


def _end_free(lines: list[Line], written: Mask) -> bool:
    """Whether what is written touches less than half of the lines at either end, unlike the stem of a 5 or a 3."""
    touching = [_band(line, written) & written for line in lines]
    starts, ends = (sum(bool(touched[:, side].any()) for touched in touching) for side in (slice(2), slice(-2, None)))
    return not lines or 2 * max(starts, ends) < len(lines)


def _without_underline(ink: Plane, block: int) -> Plane:
    """Without one line that is longer than what stands on it, to either side."""
    raster = _raster(ink, block)
    labels = components(raster)
    low, high = extents(labels)
    for number in np.flatnonzero((high - low)[:, 1] >= SMALLEST).tolist():
        (top, left), (bottom, right) = low[number], high[number] + 1
        lower = max(top, (top + bottom) // 2 - (right - left) // 12)
        lines = _lines(labels[lower:bottom, left:right] == number + 1)
        if not lines:
            continue
        line = max(lines, key=sum)
        line = Line(lower + line.start, lower + line.end)
        around = raster[:, left:right]
        first, last = _written(around & ~(_band(line, around) & _is_thin(around)))
        height = last[0] - first[0]
        longer = min(first[1], right - left - 1 - last[1])
        # Else it is the bar of a 4 or a 7, or the foot of a 2.
        if height < SMALLEST or sum(line) / 2 < first[0] + 0.85 * height or longer < height / 10:
            continue
        columns = slice(left * block, right * block)
        erased = ink[:, columns].copy()
        strip = _strip(erased, _runs(erased > FAINT), line, block)
        if strip is None:
            continue
        erased[strip.rows][strip.apart] = 0
        touches = bottom - top > (right - left) / 4
        if touches and longer < height / 2 and _are_alike(strip, erased):
            continue
        ink = ink.copy()
        ink[:, columns] = erased
        return ink
    return ink


def _are_alike(strip: Strip, strokes: Plane) -> bool:
    """Whether a line may be drawn by the pen that the strokes are drawn by."""
    strength = np.median(strokes[strokes > INK])
    return bool(strip.thickness > 0.6 * stroke_width(strokes) and strip.strength > 0.8 * strength)


def _raster(ink: Plane, block: int) -> Mask:
    raster: Mask = peaks(in_blocks(ink, block)) > INK
    return raster


def _written(raster: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last row and column of the longest part, and of others that are a third as long at least."""
    low, high = extents(components(raster))
    if not len(low):
        return np.zeros(2, np.int64), np.zeros(2, np.int64)
    length = (high - low).max(axis=1)
    long = length >= length.max() / 3
    return low[long].min(axis=0), high[long].max(axis=0)


def _runs(mask: Mask) -> NDArray[np.int32]:
    """How many there are from above to below in the run that each is of; 0 where there is none."""
    rows = np.arange(1, len(mask) + 1, dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(mask, 0, rows), axis=0)
    below = np.minimum.accumulate(np.where(mask, len(mask) + 1, rows)[::-1], axis=0)[::-1]
    runs: NDArray[np.int32] = np.where(mask, below - above - 1, 0).astype(np.int32)
    return runs


def _lines(raster: Mask) -> list[Line]:
    """Level lines from edge to edge, the clearest first; they rise or fall by a twelfth of their length at most.

    It has ink in 95 % of the columns, in its block or the one above or below, and is thin in 40 %: strokes cross it.
    """
    height, width = raster.shape
    if width < SMALLEST or raster.any(axis=0).mean() < 0.95:
        return []
    most = width // 12

    def weighed(mask: Mask) -> NDArray[np.int64]:
        """2 for a block and 1 for each neighbour above and below: most along the middle of a line."""
        padded = np.pad(mask.astype(np.int64), [(most + 1, most + 1), (0, 0)])
        return padded[:-2] + 2 * padded[1:-1] + padded[2:]

    weights, thin_weights = weighed(raster), weighed(raster & _is_thin(raster))
    columns, rows = np.arange(width), np.arange(height)[:, None] + most
    found: list[tuple[int, int, int, Line]] = []
    for drop in range(-most, most + 1):
        places = rows + np.rint(drop * (columns / (width - 1) - 0.5)).astype(int)
        along, thin = weights[places, columns], thin_weights[places, columns] > 0
        reaching = (along[:, :2] > 0).any(axis=1) & (along[:, -2:] > 0).any(axis=1)
        covered = (along > 0).mean(axis=1) >= 0.95
        for row in np.flatnonzero(reaching & covered & (thin.mean(axis=1) >= 0.4)).tolist():
            line = Line(row - drop / 2, row + drop / 2)
            found.append((int((along[row] > 1).sum()), int(along[row].sum()), -abs(drop), line))
    lines: list[Line] = []
    for *_, line in sorted(found, reverse=True):
        below = [(line.start - other.start, line.end - other.end) for other in lines]
        if all(min(off) >= 4 or max(off) <= -4 for off in below):  # else they meet, or are one
            lines.append(line)
    return lines


def _is_thin(raster: Mask) -> Mask:
    thin: Mask = _runs(raster) <= THIN
    return thin


def _band(line: Line, raster: Mask) -> Mask:
    """What lies within two blocks above or below a line."""
    path = np.linspace(line.start, line.end, raster.shape[1])
    band: Mask = np.abs(np.arange(len(raster))[:, None] - path) <= 2
    return band


def _pixels(ink: Plane, lines: list[Line], block: int) -> tuple[Mask, Mask]:
    """Of lines all pixels, and those apart from strokes."""
    whole, apart = np.zeros(ink.shape, bool), np.zeros(ink.shape, bool)
    runs = _runs(ink > FAINT) if lines else np.zeros(ink.shape, np.int32)
    for line in lines:
        if (strip := _strip(ink, runs, line, block)) is not None:
            whole[strip.rows] |= strip.whole
            apart[strip.rows] |= strip.apart
    return whole, apart


def _strip(ink: Plane, runs: NDArray[np.int32], line: Line, block: int) -> Strip | None:
    """Where a line of the raster is in the ink, of which runs are `_runs`; None where it is no line, seen from near."""
    within = slice(max(int((min(line) - 2) * block), 0), int((max(line) + 3) * block))
    ink, runs = ink[within], runs[within]
    rows, columns = np.arange(within.start, within.start + len(ink))[:, None], np.arange(ink.shape[1])
    thin = (runs > 0) & (runs <= THIN * block)
    path = (np.linspace(line.start, line.end, len(columns)) + 0.5) * block
    for reach in (1.5 * block, block):
        away = np.where(thin, np.abs(rows - path), np.inf)
        nearest, seen = away.argmin(axis=0), away.min(axis=0) <= reach
        if seen.mean() < 0.3:
            return None
        slope, start = np.polyfit(columns[seen], nearest[seen] + within.start, 1)
        path = start + slope * columns
    away = np.abs(rows - path)
    on = thin & (away <= block / 2 + 1)
    straight = on.any(axis=0)
    if not straight.any() or straight.sum() < 0.9 * (thin & (away <= 1.5 * block)).any(axis=0).sum():
        return None
    # Of a line along which a stroke lies, the greater part may be that stroke.
    thickness, strength = (float(np.percentile((plane * on).max(axis=0)[straight], 25)) for plane in (runs, ink))
    no_stronger = ink <= 1.25 * strength
    apart = (away <= (thickness + block) / 2) & (runs <= 1.4 * thickness + 1) & no_stronger
    return Strip(within, (away <= thickness / 2 + 1) & no_stronger, apart, thickness, strength)
