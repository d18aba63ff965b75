"""What is ink and what is the ground it stands on: flat screens and scans, and photographs of paper.

Ink comes out as float32 [h, w], 255 where it is full and exactly 0 on the ground.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import NothingDrawn
from models.preprocessing import paper_sheet
from models.preprocessing.decode import Pixels
from models.preprocessing.enclosures import surroundings
from models.preprocessing.morphology import (
    Plane,
    blurred,
    closed,
    components,
    dilate,
    extents,
    in_blocks,
    peaks,
    reduced,
    ring,
)
from models.preprocessing.ruled_lines import unruled

TILE_LIKE = 56
"""Up to this size a faint pixel is part of the digit; in a larger picture it is a resampling's fringe."""
FAINTEST = 24
"""Levels of 255 that ink differs from its ground at least."""
SHADE = 0.4
"""What a shadow leaves of the light at least; what is darker at the border of a photograph is a stroke along it."""

InkStep = Literal["inverted", "background"]


def separate(pixels: Pixels, lossy: bool = False) -> tuple[Plane, list[InkStep]]:
    """Splits pixels, uint8 [H, W] or [H, W, 3], and says what it took. Raises NothingDrawn where nothing stands out."""
    planes = _unstriped(_unframed(pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)))
    if max(pixels.shape) > TILE_LIKE and (paper := paper_sheet.alone(planes)) is not None:
        return _from_paper(paper)
    border = ring(planes)
    ground = np.median(border, axis=0)
    distance = np.abs(border - ground).max(axis=1)
    exact = not lossy and bool((distance == 0).mean() >= 0.75)
    if (distance <= 3).mean() >= 0.5 and (exact or (distance > 12).mean() <= 0.1):
        return _from_flat_ground(planes, ground, distance, exact)
    if (flat := _flat_ground(planes)) is not None:
        return _from_flat_ground(planes, flat, distance * 0, exact=True)
    return _from_paper(planes)


def main_parts(ink: Plane) -> Plane:
    """Ink [h, w] without lines to write on, a table's edge, what surrounds the digit, and what is apart and smaller."""
    if max(ink.shape) > TILE_LIKE:
        ink = unruled(ink)
    block = -(-max(ink.shape) // 64)
    blocks = in_blocks(ink, block)
    labels = components(peaks(blocks) > 96)
    mass = np.bincount(labels.ravel(), weights=blocks.sum(axis=(1, 3)).ravel())
    mass[0] = 0
    if max(ink.shape) > TILE_LIKE:
        sides = sum(np.bincount(np.unique(side), minlength=len(mass)) for side in _sides(labels))
        inner = np.where(sides < 2, mass, 0)
        mass = inner if inner.max() >= 0.02 * mass.max() else mass
        mass[surroundings(labels, mass)] = 0
    keep = mass >= max(0.05 * mass.max(), 1)
    # A faint fringe belongs to the part that it lies next to.
    fringe = (labels == 0) & (dilate(keep[labels].astype(np.float32), 2) > 0)
    near = (fringe | keep[labels]).repeat(block, axis=0).repeat(block, axis=1)
    parts: Plane = np.where(near[: ink.shape[0], : ink.shape[1]], ink, 0)
    return parts


def _sides(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    return labels[0], labels[-1], labels[:, 0], labels[:, -1]


def _unframed(planes: Plane) -> Plane:
    """Cuts a frame of one colour off a picture whose ground begins behind it: the border of a canvas, say."""
    shortest = min(planes.shape[:2])
    colour, share = _commonest(ring(planes))
    if share < 0.95:
        return planes
    for inset in range(1, min(max(2, shortest // 25 + 1), shortest // 2 - 1)):
        ground, share = _commonest(ring(planes, inset))
        if np.abs(ground - colour).max() > FAINTEST and share > 0.6:
            if _share(planes.reshape(-1, planes.shape[2]), ground) > 0.5:
                return planes[inset + 1 : -inset - 1, inset + 1 : -inset - 1]
            return planes
    return planes


def _unstriped(planes: Plane) -> Plane:
    """Turns back stripes, from edge to edge, in which light and dark are exchanged."""
    for axis in (1, 0):
        lines = planes.swapaxes(0, axis)
        # Between a stripe and its neighbour every pixel changes, the outermost too, and to about its opposite.
        changed = np.flatnonzero(np.abs(np.diff(lines[:, [0, -1]], axis=0)).min(axis=(1, 2)) > 255 / 2) + 1
        sides = [side for side in changed if np.abs(lines[side] + lines[side - 1] - 255).mean() < 0.4 * 255]
        if len(sides) < 2:
            continue
        stripes = np.split(lines, sides)
        # A stripe without ink is a stroke, such as that of a 1; but at the ends a narrow digit leaves broad ones.
        blank = [np.ptp(stripe) < 255 / 2 for stripe in stripes]
        stroke = any(blank[1:-1]) or any(blank[end] and len(stripes[end]) < len(lines) / 5 for end in (0, -1))
        stroke |= min(len(stripe) for stripe in stripes) < len(lines) / 10
        if not stroke:
            turned = np.concatenate([stripe if i % 2 == 0 else 255 - stripe for i, stripe in enumerate(stripes)])
            if max(lines.shape) > TILE_LIKE or _has_digit(turned):
                return turned.swapaxes(0, axis)
    return planes


def _has_digit(planes: Plane) -> bool:
    """Whether one part reaches far across a small picture.

    Of a stroke that was taken for a stripe only dents of its edges and holes of its loops are left.
    """
    low, high = extents(components(np.abs(planes - planes[0, 0]).max(axis=2) > 255 / 2))
    return bool(((high - low).max(initial=0) + 1) >= 0.4 * max(planes.shape))


def _commonest(pixels: Plane) -> tuple[NDArray[np.float32], float]:
    """The median colour of pixels [P, channels], and the share that has about that colour."""
    if (pixels == pixels[0]).all():
        return pixels[0], 1.0
    colour = np.median(pixels, axis=0)
    return colour, _share(pixels, colour)


def _share(pixels: Plane, colour: NDArray[np.float32]) -> float:
    return float((np.abs(pixels - colour).max(axis=1) <= FAINTEST / 2).mean())


def _flat_ground(planes: Plane) -> NDArray[np.float32] | None:
    """The ground's one colour in a small picture whose border is mostly ink, or None where no colour is common."""
    if max(planes.shape) > TILE_LIKE:
        return None
    pixels = planes.reshape(-1, planes.shape[2])
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    if counts.max() < 0.2 * counts.sum():
        return None
    # Thick strokes that fill a tight crop leave the ground its corners, whatever covers more of the picture.
    corner, agreeing = _commonest(planes[[0, 0, -1, -1], [0, -1, 0, -1]])
    if agreeing >= 0.75 and _share(pixels, corner) >= 0.1:
        return corner
    commonest: NDArray[np.float32] = colours[counts.argmax()].astype(np.float32)
    return commonest


def _from_flat_ground(
    planes: Plane, ground: NDArray[np.float32], ring_distance: Plane, exact: bool
) -> tuple[Plane, list[InkStep]]:
    """Ink is what differs from one ground colour."""
    difference = planes - ground
    darkness = -difference.mean(axis=2)
    dark = bool((darkness * np.abs(darkness)).sum() > 0)
    # The strongest channel sees yellow and blue ink as well as black. Grey pictures keep their sign, which takes
    # specks of the other polarity away.
    ink = np.abs(difference).max(axis=2) if planes.shape[2] > 1 else (darkness if dark else -darkness).clip(0)
    peak = float(ink.max())
    if peak < FAINTEST:
        raise NothingDrawn(
            f"nothing is drawn: no pixel differs from the background by more than {peak:.0f} levels of 255, "
            f"and ink by {FAINTEST} at least"
        )

    steps: list[InkStep] = ["inverted"] if dark else []
    if not exact:
        noise = np.percentile(ring_distance[ring_distance < peak / 4], 95)
        # What a codec leaves around a stroke is as strong as the stroke's own faint edge, but lies farther out.
        near = dilate((ink > 0.3 * peak).astype(np.float32), 1 + max(ink.shape) // 100) > 0
        ink = np.where(near & (ink >= max(0.05 * peak, 3 * noise)), ink, 0)
        steps.append("background")
    elif max(ink.shape) > TILE_LIKE:
        ink = np.where(ink < 0.04 * peak, 0, ink)
    if peak < 200:
        ink *= 255 / peak
        if "background" not in steps:
            steps.append("background")
    return ink.astype(np.float32), steps


def _from_paper(planes: Plane) -> tuple[Plane, list[InkStep]]:
    """Ink is what reflects less than the paper around it; the paper may lie in shadow."""
    dark = _is_dark_on_light(planes.mean(axis=2))
    if not dark:
        planes = 255 - planes
    ground = np.stack([_paper(planes[..., channel]) for channel in range(planes.shape[2])], axis=2)
    strength = (1 - planes / ground.clip(1)).max(axis=2)

    level = float(np.median(strength))
    noise = 1.4826 * float(np.median(np.abs(strength - level)))
    peak = float(blurred(strength).max())
    if peak - level < max(4 * noise, FAINTEST / 255):
        raise NothingDrawn("nothing is drawn: the picture has no ink that stands out from its background")
    low = max(level + 0.35 * (peak - level), level + 3 * noise)
    full = level + 0.75 * (peak - level)
    ink = ((strength - low) / (full - low)).clip(0, 1) * 255
    return ink.astype(np.float32), ["inverted", "background"] if dark else ["background"]


def _is_dark_on_light(grey: Plane) -> bool:
    """Whether strokes are darker or brighter than what is around them.

    A stroke is narrow, which the edge of a shadow is not, and differs from the local median, which the inside of a 0
    does not.
    """
    coarse = reduced(grey)
    height, width = coarse.shape
    reach = max(1, min(max(coarse.shape) // 4, min(coarse.shape) - 1))
    padded = np.pad(coarse, reach, mode="reflect" if min(coarse.shape) > 1 else "edge")
    offsets = range(0, 2 * reach + 1, max(1, reach // 4))
    median = np.median([padded[y : y + height, x : x + width] for y in offsets for x in offsets], axis=0)
    narrow = max(1, max(coarse.shape) // 10)
    dark = np.minimum(closed(coarse, narrow) - coarse, (median - coarse).clip(0))
    bright = np.minimum(coarse + closed(-coarse, narrow), (coarse - median).clip(0))
    return bool((dark**3).sum() >= (bright**3).sum())


def _paper(plane: Plane) -> Plane:
    """The paper's own brightness under the ink; the edges of shadows are kept."""
    coarse, size = reduced(plane), (plane.shape[1], plane.shape[0])
    radius = max(1, max(coarse.shape) // 6)
    shaded, lit = closed(coarse, radius), closed(coarse, radius, endless=False)
    ground = np.where(shaded < SHADE * lit, lit, shaded)
    return np.asarray(Image.fromarray(blurred(ground)).resize(size, Image.Resampling.BILINEAR))
