"""Finds the sheet of paper in a photograph that also shows what lies around it, and removes the surroundings.

The search works on a thumbnail, to whose pixels radii refer.
"""

import numpy as np

from models.preprocessing import morphology
from models.preprocessing.morphology import Mask, Plane

MIN_AREA = 0.1  # share of the photograph
MIN_RECTANGULARITY = 0.88  # share of the minimum-area rectangle, seen in perspective or with a bent corner
MAX_INK = 0.2  # share of the sheet
MAX_GLARE = 1.35  # brightness relative to the paper; anything brighter is chalk or white ink
MIN_EDGE = 1.08  # brightness of the sheet's edge relative to just beyond it; light falls off more slowly
STROKE_RADIUS = 3  # half the width of the broadest stroke
MIN_STROKE = 0.15  # share of the paper's light that a stroke absorbs


def isolate_sheet(planes: Plane) -> Plane | None:
    """Replaces everything outside the sheet in planes [H, W, channels] with the colour of its paper.

    Returns None without a bright sheet on a darker background, or with strokes outside it, so that an error loses none.
    """
    grey = morphology.thumbnail(planes.mean(axis=2))
    sheet = _find_sheet(grey)
    if sheet is None:
        return None
    inner, outer = ~morphology.dilate(~sheet), ~morphology.dilate(sheet)
    edge, beyond = grey[inner & morphology.dilate(~inner)], grey[outer & morphology.dilate(~outer)]
    if not len(edge) or not len(beyond) or np.median(edge) < MIN_EDGE * np.median(beyond):
        return None
    radius = max(1, max(grey.shape) // 6)
    light = morphology.close(grey, radius)
    strokes = (light - grey) / light.clip(1)
    if strokes[inner].max(initial=0) < max(MIN_STROKE, 2 * strokes[outer].max(initial=0)):
        return None
    shape = planes.shape[:2]
    channels = [
        morphology.close(morphology.thumbnail(planes[..., channel]), radius) for channel in range(planes.shape[2])
    ]
    paper = np.stack([morphology.resize(_extrapolate(channel, inner), shape) for channel in channels], axis=2)
    return np.where(morphology.resize(inner.astype(np.float32), shape)[..., None] > 0.5, planes, paper)


def _find_sheet(grey: Plane) -> Mask | None:
    """The mask of the sheet, including its ink; None when nothing has a sheet's size, shape and even brightness."""
    threshold = _otsu_threshold(grey)
    if (morphology.border_pixels(grey) > threshold).mean() > 0.8:
        return None
    bright = grey > threshold
    # Closing keeps a stroke that leads off the sheet from cutting into it.
    sheet = _fill_holes(morphology.largest_component(morphology.close(bright.astype(np.float32), STROKE_RADIUS) > 0))
    if sheet.mean() < MIN_AREA or (bright & sheet).sum() < (1 - MAX_INK) * sheet.sum():
        return None
    if grey[sheet].max() > MAX_GLARE * np.median(grey[sheet]):
        return None
    return sheet if _rectangularity(sheet) > MIN_RECTANGULARITY else None


def _otsu_threshold(grey: Plane) -> float:
    """The level that maximises the variance between dark and bright pixels (Otsu 1979)."""
    levels = np.sort(grey.ravel()).astype(np.float64)
    below = np.arange(1, len(levels))
    sums = levels.cumsum()
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / below[::-1]
    best = int((below * below[::-1] * (means[1] - means[0]) ** 2).argmax())
    return float(levels[best : best + 2].mean())


def _fill_holes(mask: Mask) -> Mask:
    """Adds everything that is not connected to a corner: holes, and strokes that lead to the border."""
    labels = morphology.connected_components(~mask)
    corners = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]])
    return ~np.isin(labels, corners[corners > 0])


def _rectangularity(mask: Mask) -> float:
    """The share of its minimum-area rectangle, among rotations by whole degrees, that a mask covers."""
    positions = np.argwhere(mask)
    angles = np.radians(np.arange(90))
    directions = np.stack([np.cos(angles), np.sin(angles)])
    sides = [np.ptp(positions @ axis, axis=0) + 1 for axis in (directions, directions[::-1] * [[1], [-1]])]
    return len(positions) / float((sides[0] * sides[1]).min())


def _extrapolate(plane: Plane, known: Mask) -> Plane:
    """Fills unknown pixels with the mean of known ones around them, working outwards."""
    weight = known.astype(np.float32)
    value = plane * weight
    while not weight.all():
        spread, reached = morphology.box_blur(value), morphology.box_blur(weight)
        value = np.where(weight > 0, value, spread / reached.clip(1e-6))
        weight = np.maximum(weight, (reached > 0).astype(np.float32))
        value *= weight
    return value
