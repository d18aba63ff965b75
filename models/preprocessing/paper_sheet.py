"""The sheet of paper in a photograph that shows what lies around it as well."""

import numpy as np
from PIL import Image

from models.preprocessing.morphology import Mask, Plane, blurred, closed, components, dilate, largest, reduced, ring

LEAST = 0.1
"""The part of a picture that a sheet covers at least."""
STRAIGHT = 0.88
"""The part of the narrowest rectangle around it that a sheet covers at least: in perspective, or with a bent corner."""
WRITTEN = 0.2
"""The part of a sheet that ink covers at most."""
GLARE = 1.35
"""How much brighter than its paper anything on a sheet is at most: what is more is chalk, or white ink."""
EDGE = 1.08
"""How much brighter it is on a sheet's edge than beyond it at least; light that falls off does so more slowly."""
BROAD = 3
"""Half of what a stroke is wide at most, seen from afar: in pixels of models.preprocessing.morphology.reduced."""
STROKE = 0.15
"""The part of the paper's light that a stroke takes at least, seen from afar."""


def alone(planes: Plane) -> Plane | None:
    """The picture [H, W, channels] with the sheet's own paper where something else than the sheet is seen.

    None where there is no bright sheet on darker ground, or not all strokes are on it: then nothing is lost by error.
    """
    grey = reduced(planes.mean(axis=2))
    sheet = _sheet(grey)
    if sheet is None:
        return None
    inner, outer = ~_grown(~sheet), ~_grown(sheet)
    edge, beyond = grey[inner & _grown(~inner)], grey[outer & _grown(~outer)]
    if not len(edge) or not len(beyond) or np.median(edge) < EDGE * np.median(beyond):
        return None
    reach = max(1, max(grey.shape) // 6)
    light = closed(grey, reach)
    strokes = (light - grey) / light.clip(1)
    if strokes[inner].max(initial=0) < max(STROKE, 2 * strokes[outer].max(initial=0)):
        return None
    paper = np.stack([closed(reduced(planes[..., channel]), reach) for channel in range(planes.shape[2])])
    return _beside(planes, inner, paper)


def _sheet(grey: Plane) -> Mask | None:
    """Where the sheet is, with what is written on it; None for what has not a sheet's size, shape or paper."""
    level = _between(grey)
    if (ring(grey) > level).mean() > 0.8:
        return None
    bright = grey > level
    # A stroke that leads off the sheet is no dent in it.
    sheet = _filled(largest(closed(bright.astype(np.float32), BROAD) > 0))
    if sheet.mean() < LEAST or (bright & sheet).sum() < (1 - WRITTEN) * sheet.sum():
        return None
    if grey[sheet].max() > GLARE * np.median(grey[sheet]):
        return None
    return sheet if _straightness(sheet) > STRAIGHT else None


def _grown(mask: Mask) -> Mask:
    """By a pixel all around."""
    return dilate(mask.astype(np.float32)) > 0


def _between(grey: Plane) -> float:
    """The level that parts dark and bright best (Otsu 1979)."""
    levels = np.sort(grey.ravel()).astype(np.float64)
    below = np.arange(1, len(levels))
    sums = levels.cumsum()
    means = sums[:-1] / below, (sums[-1] - sums[:-1]) / below[::-1]
    best = int((below * below[::-1] * (means[1] - means[0]) ** 2).argmax())
    return float(levels[best : best + 2].mean())


def _filled(mask: Mask) -> Mask:
    """With all that no corner of the picture belongs to: holes, and strokes that lead to its border."""
    labels = components(~mask)
    corners = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]])
    return ~np.isin(labels, corners[corners > 0])


def _straightness(mask: Mask) -> float:
    """The part of the narrowest rectangle around a mask that it covers."""
    places = np.argwhere(mask)
    angles = np.radians(np.arange(90))
    directions = np.stack([np.cos(angles), np.sin(angles)])
    sides = [np.ptp(places @ axis, axis=0) + 1 for axis in (directions, directions[::-1] * [[1], [-1]])]
    return len(places) / float((sides[0] * sides[1]).min())


def _beside(planes: Plane, inner: Mask, paper: Plane) -> Plane:
    """Planes [H, W, channels] with paper, [channels, h, w], where a smaller picture, [h, w], is not inner."""
    size = (planes.shape[1], planes.shape[0])

    def enlarged(plane: Plane) -> Plane:
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR))

    blank = np.stack([enlarged(_continued(channel, inner)) for channel in paper], axis=2)
    return np.where(enlarged(inner.astype(np.float32))[..., None] > 0.5, planes, blank)


def _continued(plane: Plane, known: Mask) -> Plane:
    """Where it is not known, the mean of what is known around."""
    weight = known.astype(np.float32)
    value = plane * weight
    while not weight.all():
        spread, reached = blurred(value), blurred(weight)
        value = np.where(weight > 0, value, spread / reached.clip(1e-6))
        weight = np.maximum(weight, (reached > 0).astype(np.float32))
        value *= weight
    return value
