"""MNIST's digits written anew: the middle line of a tile's strokes, drawn large with a pen of any width."""

import functools
import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]

FINE = 84
"""Pixels on a side of the raster that strokes are thinned on: three for each of a tile."""


PARTS_LESS_LOOPS = ({0}, {1}, {0, 1}, {1}, {0, 1, 2}, {1, 2}, {0}, {1, 2}, {-1}, {0})
"""Of each digit: a 5, for one, is of one part or two, and an 8 of one part with two loops."""


def redrawable(tiles: Pixels, labels: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each digit has all its loops and parts. One whose loop is filled would become another without its ink."""
    masks = np.pad(np.stack([_strokes(tile) for tile in tiles]), ((0, 0), (1, 1), (1, 1)))
    quads = [masks[:, :-1, :-1], masks[:, :-1, 1:], masks[:, 1:, :-1], masks[:, 1:, 1:]]
    filled = np.sum(quads, axis=0, dtype=np.int8)
    diagonal = (filled == 2) & (quads[0] == quads[3])
    # Gray 1971: what 2x2 neighbourhoods say about parts and loops.
    euler = ((filled == 1).sum((1, 2)) - (filled == 3).sum((1, 2)) - 2 * diagonal.sum((1, 2))) // 4
    return np.array([number in PARTS_LESS_LOOPS[label] for number, label in zip(euler.tolist(), labels, strict=True)])


def _strokes(tile: Pixels) -> NDArray[np.bool_]:
    image = Image.fromarray(tile).resize((FINE, FINE), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    return np.asarray(image) > 100


def skeleton(tile: Pixels) -> Plane:
    """The middle line of the strokes of a tile, uint8 [28, 28]: 0 or 1, [FINE, FINE] (Zhang and Suen 1984)."""
    mask = np.pad(_strokes(tile), 1)
    while True:
        before = mask.sum()
        for first in (True, False):
            mask = mask & ~_removable(mask, first)
        if mask.sum() == before:
            return mask[1:-1, 1:-1].astype(np.float32)


def _removable(mask: NDArray[np.bool_], first: bool) -> NDArray[np.bool_]:
    """Pixels on one side of a stroke whose removal neither shortens it nor cuts it."""
    steps = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
    north, _, east, _, south, _, west, _ = ring = [np.roll(mask, (-y, -x), (0, 1)) for y, x in steps]
    neighbours = np.sum(ring, axis=0)
    crossings = np.sum([~ring[i] & ring[(i + 1) % 8] for i in range(8)], axis=0)
    corners = (
        ~(north & east & south) & ~(east & south & west) if first else ~(north & east & west) & ~(north & south & west)
    )
    removable: NDArray[np.bool_] = mask & (neighbours >= 2) & (neighbours <= 6) & (crossings == 1) & corners
    return removable


def written(rng: Generator, tile: Pixels, length: int, width: float) -> Plane:
    """A tile's digit, by another hand: 0..1, [h, w], cropped; its longer side is `length`, its strokes `width` pixels.

    Turned, slanted and stretched a little; strokes are at least length / 30 wide.
    """
    line = cropped(skeleton(tile), 0)
    scale = (length - width) / max(line.shape)
    width = max(width, length / 30)
    margin = math.ceil(0.6 * width + 0.15 * length)
    height, breadth = (max(1, round(side * scale)) for side in line.shape)
    canvas = np.zeros((height + 2 * margin, breadth + 2 * margin), np.uint8)
    image = Image.fromarray((line * 255).astype(np.uint8)).resize((breadth, height), Image.Resampling.BILINEAR)
    canvas[margin : margin + height, margin : margin + breadth] = np.asarray(image)
    # Blurred, the steps of the raster go; what is cut off there is a line of even width.
    image = slanted(rng, Image.fromarray(canvas)).filter(ImageFilter.GaussianBlur(0.7 * scale))
    blurred = np.asarray(image)
    return cropped(tube(blurred > 0.4 * blurred.max(), max(1.0, width - 1.8 * scale)), 0.05)


def tube(line: NDArray[np.bool_], width: float) -> Plane:
    """A line drawn with a round pen of that width: 0..1, soft over one pixel."""
    reach = math.ceil(width / 2) + 1
    vertical = np.full(line.shape, reach, np.float32)
    for distances, mask in ((vertical, line), (vertical[::-1], line[::-1])):
        rows = np.arange(len(mask))[:, None]
        latest = np.maximum.accumulate(np.where(mask, rows, -2 * reach), axis=0)
        np.minimum(distances, rows - latest, out=distances)
    padded = np.pad(vertical**2, ((0, 0), (reach, reach)), constant_values=reach**2)
    length = line.shape[1]
    squares = functools.reduce(
        np.minimum, (padded[:, i : i + length] + np.float32((i - reach) ** 2) for i in range(2 * reach + 1))
    )
    ink: Plane = (width / 2 + 0.5 - np.sqrt(squares)).clip(0, 1)
    return ink


def slanted(rng: Generator, image: Image.Image, strength: float = 1.0) -> Image.Image:
    """Turned by up to 8 degrees and sheared by up to 0.15 at strength 1, about the middle of the picture."""
    angle = strength * math.radians(rng.uniform(-8, 8))
    shear = strength * rng.uniform(-0.15, 0.15)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, shear * cos - sin], [sin, shear * sin + cos]]) * rng.uniform(0.97, 1.03, (2, 1))
    middle = np.array(image.size) / 2
    offset = middle - matrix @ middle
    data = (*matrix[0], offset[0], *matrix[1], offset[1])
    return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)


def cropped(plane: Plane, above: float) -> Plane:
    """[H, W] cut down to the pixels above that value, of which there has to be one."""
    rows, columns = np.nonzero(plane > above)
    return plane[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def encoded(pixels: NDArray[np.float32] | Pixels, quality: int | None = None) -> bytes:
    """Grey or RGB levels 0..255 as a PNG, or as a JPEG of that quality."""
    image = Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
