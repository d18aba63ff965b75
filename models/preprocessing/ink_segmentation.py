"""Separates ink from its background: on screens and scans of one background colour, and in photographs of paper.

Ink is float32 [h, w]: 255 at full strength, exactly 0 on the background. Ink is what differs from the colour around it
in any channel, so that neither polarity nor colour matters.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import NothingDrawn
from models.preprocessing import morphology, paper_sheet
from models.preprocessing.decode import Pixels
from models.preprocessing.enclosures import find_enclosures
from models.preprocessing.morphology import INK_LEVEL, Plane
from models.preprocessing.ruled_lines import remove_ruled_lines

Colour = NDArray[np.float32]

SMALL_SIDE = 56  # pixels; up to this size faint pixels are part of the digit, above it resampling leaves them
MIN_CONTRAST = 24  # levels of 255 between ink and its background
MIN_SHADOW = 0.4  # share of the light that a shadow leaves; darker areas at a photograph's border are strokes
MIN_MASS = 0.05  # share of the heaviest component's ink; components with less are specks

InkStep = Literal["inverted", "background"]


def segment(pixels: Pixels, lossy: bool = False) -> tuple[Plane, list[InkStep]]:
    """Extracts the ink of pixels, uint8 [H, W] or [H, W, 3], and names the steps that this took.

    Assumes a uniform background when the border has one colour: exactly that on 75 % of its pixels, or within 3 levels
    on 50 % and beyond 12 levels on at most 10 %. A small image may also have its background in the corners, or in a
    fifth of its pixels. Any other image is taken for a photograph of paper under uneven light.
    Raises NothingDrawn when nothing stands out from the background.
    """
    planes = _undo_inverted_stripes(_crop_frame(pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)))
    if max(pixels.shape) > SMALL_SIDE and (sheet := paper_sheet.isolate_sheet(planes)) is not None:
        return _divide_by_background(sheet)
    border = morphology.border_pixels(planes)
    background = np.median(border, axis=0)
    distance = np.abs(border - background).max(axis=1)
    exact = not lossy and bool((distance == 0).mean() >= 0.75)
    if exact or ((distance <= 3).mean() >= 0.5 and (distance > 12).mean() <= 0.1):
        return _subtract_background(planes, background, None if exact else distance)
    if (common := _common_colour(planes)) is not None:
        return _subtract_background(planes, common, None)
    return _divide_by_background(planes)


def isolate_digit(ink: Plane) -> Plane:
    """Removes ruled lines, a table's edge, boxes and circles around the digit, and specks from ink [h, w]."""
    large = max(ink.shape) > SMALL_SIDE
    if large:
        ink = remove_ruled_lines(ink)
    raster = morphology.cells(ink)
    labels = morphology.connected_components(morphology.cell_maxima(raster) > INK_LEVEL)
    mass = np.bincount(labels.ravel(), weights=raster.sum(axis=(1, 3)).ravel())
    mass[0] = 0
    if large:
        borders = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
        touched = sum(np.bincount(np.unique(border), minlength=len(mass)) for border in borders)
        inner = np.where(touched < 2, mass, 0)  # what touches two borders is a table's edge, unless it is all there is
        mass = inner if inner.max() >= 0.02 * mass.max() else mass
        mass[find_enclosures(labels, mass)] = 0
    keep = (mass >= max(MIN_MASS * mass.max(), 1))[labels]
    fringe = (labels == 0) & morphology.dilate(keep, 2)  # a faint fringe belongs to the component beside it
    side = morphology.cell_side(ink.shape)
    kept = (fringe | keep).repeat(side, axis=0).repeat(side, axis=1)
    digit: Plane = np.where(kept[: ink.shape[0], : ink.shape[1]], ink, 0)
    return digit


def _crop_frame(planes: Plane) -> Plane:
    """Removes a frame of one colour, such as the border of a canvas, that surrounds a background of another colour.

    A frame is at most 4 % of the shorter side wide and covers 95 % of the border; the background covers 60 % of the
    pixels next to it and half of the image.
    """
    shorter = min(planes.shape[:2])
    frame, share = _median_colour(morphology.border_pixels(planes))
    if share < 0.95:
        return planes
    for inset in range(1, min(max(2, shorter // 25 + 1), shorter // 2 - 1)):
        inside, share = _median_colour(morphology.border_pixels(planes, inset))
        if np.abs(inside - frame).max() > MIN_CONTRAST and share > 0.6:
            if _share(planes.reshape(-1, planes.shape[2]), inside) > 0.5:
                return planes[inset + 1 : -inset - 1, inset + 1 : -inset - 1]
            return planes
    return planes


def _undo_inverted_stripes(planes: Plane) -> Plane:
    """Inverts stripes from edge to edge in which light and dark are exchanged, as in MNIST-C.

    Between a stripe and its neighbour every pixel, the outermost too, changes to about its opposite. There are at least
    two such edges, a tenth of the image or more apart.
    """
    for axis in (1, 0):
        lines = planes.swapaxes(0, axis)
        changed = np.flatnonzero(np.abs(np.diff(lines[:, [0, -1]], axis=0)).min(axis=(1, 2)) > 255 / 2) + 1
        edges = [edge for edge in changed if np.abs(lines[edge] + lines[edge - 1] - 255).mean() < 0.4 * 255]
        if len(edges) < 2:
            continue
        stripes = np.split(lines, edges)
        # A stripe without ink is a stroke, such as that of a 1; only beside a narrow digit are outer stripes empty.
        blank = [np.ptp(stripe) < 255 / 2 for stripe in stripes]
        stroke = any(blank[1:-1]) or any(blank[end] and len(stripes[end]) < len(lines) / 5 for end in (0, -1))
        stroke |= min(len(stripe) for stripe in stripes) < len(lines) / 10
        if not stroke:
            restored = np.concatenate([stripe if i % 2 == 0 else 255 - stripe for i, stripe in enumerate(stripes)])
            if max(lines.shape) > SMALL_SIDE or _has_long_component(restored):
                return restored.swapaxes(0, axis)
    return planes


def _has_long_component(planes: Plane) -> bool:
    """Whether one component spans 40 % of a small image.

    A stroke that was mistaken for a stripe leaves only short ones: the dents of its edges and the holes of its loops.
    """
    low, high = morphology.bounding_boxes(
        morphology.connected_components(np.abs(planes - planes[0, 0]).max(axis=2) > 255 / 2)
    )
    return bool(((high - low).max(initial=0) + 1) >= 0.4 * max(planes.shape))


def _median_colour(pixels: Plane) -> tuple[Colour, float]:
    """The median colour of pixels [P, channels], and the share of pixels close to it."""
    if (pixels == pixels[0]).all():
        return pixels[0], 1.0
    colour = np.median(pixels, axis=0)
    return colour, _share(pixels, colour)


def _share(pixels: Plane, colour: Colour) -> float:
    return float((np.abs(pixels - colour).max(axis=1) <= MIN_CONTRAST / 2).mean())


def _common_colour(planes: Plane) -> Colour | None:
    """The background of a small image whose border is mostly ink; None when fewer than a fifth of pixels share one."""
    if max(planes.shape) > SMALL_SIDE:
        return None
    pixels = planes.reshape(-1, planes.shape[2])
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    if counts.max() < 0.2 * counts.sum():
        return None
    # In a tight crop thick strokes leave the background only its corners, however much of the image they cover.
    corner, agreeing = _median_colour(planes[[0, 0, -1, -1], [0, -1, 0, -1]])
    if agreeing >= 0.75 and _share(pixels, corner) >= 0.1:
        return corner
    commonest: Colour = colours[counts.argmax()].astype(np.float32)
    return commonest


def _subtract_background(
    planes: Plane, background: Colour, border_distance: Plane | None
) -> tuple[Plane, list[InkStep]]:
    """Takes as ink the difference from one background colour.

    Ink is dark when squared differences below the background outweigh those above it. border_distance: how far each
    pixel of the border is from that colour, which measures noise; None if the background is exactly uniform.
    """
    difference = planes - background
    darkness = -difference.mean(axis=2)
    dark = bool((darkness * np.abs(darkness)).sum() > 0)
    # The strongest channel sees yellow and blue ink as well as black. In grey images the sign removes specks of the
    # opposite polarity.
    ink = np.abs(difference).max(axis=2) if planes.shape[2] > 1 else (darkness if dark else -darkness).clip(0)
    peak = float(ink.max())
    if peak < MIN_CONTRAST:
        raise NothingDrawn(
            f"nothing is drawn: no pixel differs from the background by more than {peak:.0f} levels of 255; "
            f"ink must differ by at least {MIN_CONTRAST}"
        )

    steps: list[InkStep] = ["inverted"] if dark else []
    if border_distance is not None:
        noise = np.percentile(border_distance[border_distance < peak / 4], 95)
        # A codec's artefacts are as strong as a stroke's faint edge, but lie farther from the stroke.
        near = morphology.dilate(ink > 0.3 * peak, 1 + max(ink.shape) // 100)
        ink = np.where(near & (ink >= max(0.05 * peak, 3 * noise)), ink, 0)
    elif max(ink.shape) > SMALL_SIDE:
        ink = np.where(ink < 0.04 * peak, 0, ink)
    if peak < 200:
        ink *= 255 / peak
    if border_distance is not None or peak < 200:
        steps.append("background")
    return ink.astype(np.float32), steps


def _divide_by_background(planes: Plane) -> tuple[Plane, list[InkStep]]:
    """Takes as ink what reflects less light than the paper around it, in any channel; the paper may lie in shadow.

    Assumes that most pixels show paper, whose reflectance is the median, and that the strongest ink is at least 4
    standard deviations of the noise away from it. Between 35 % and 75 % of that distance ink rises from 0 to 255.
    """
    dark = _is_dark_on_light(planes.mean(axis=2))
    if not dark:
        planes = 255 - planes
    channels = range(planes.shape[2])
    background = np.stack([_estimate_background(planes[..., channel]) for channel in channels], axis=2)
    strength = (1 - planes / background.clip(1)).max(axis=2)

    level = float(np.median(strength))
    noise = 1.4826 * float(np.median(np.abs(strength - level)))  # the standard deviation, by the median deviation
    peak = float(morphology.box_blur(strength).max())
    if peak - level < max(4 * noise, MIN_CONTRAST / 255):
        raise NothingDrawn("nothing is drawn: the image has no ink that stands out from its background")
    threshold = max(level + 0.35 * (peak - level), level + 3 * noise)
    full = level + 0.75 * (peak - level)
    ink = ((strength - threshold) / (full - threshold)).clip(0, 1) * 255
    return ink.astype(np.float32), ["inverted", "background"] if dark else ["background"]


def _is_dark_on_light(grey: Plane) -> bool:
    """Whether strokes are darker than their surroundings.

    Strokes are narrower than a fifth of the longer side, unlike shadows, and differ from the local median, unlike the
    inside of a 0.
    """
    small = morphology.thumbnail(grey)
    height, width = small.shape
    reach = max(1, min(max(small.shape) // 4, min(small.shape) - 1))
    padded = np.pad(small, reach, mode="reflect" if min(small.shape) > 1 else "edge")
    offsets = range(0, 2 * reach + 1, max(1, reach // 4))
    median = np.median([padded[y : y + height, x : x + width] for y in offsets for x in offsets], axis=0)
    narrow = max(1, max(small.shape) // 10)
    dark = np.minimum(morphology.close(small, narrow) - small, (median - small).clip(0))
    bright = np.minimum(small + morphology.close(-small, narrow), (small - median).clip(0))
    return bool((dark**3).sum() >= (bright**3).sum())


def _estimate_background(plane: Plane) -> Plane:
    """The brightness of the paper under the ink; the edges of shadows stay."""
    small = morphology.thumbnail(plane)
    radius = max(1, max(small.shape) // 6)
    with_shadows, lit = morphology.close(small, radius), morphology.close(small, radius, extend=False)
    background = np.where(with_shadows < MIN_SHADOW * lit, lit, with_shadows)
    return morphology.resize(morphology.box_blur(background), plane.shape)
