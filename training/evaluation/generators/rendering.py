"""Drawing that the generators share: MNIST digits redrawn with a pen of any width, pens, placement and encoding.

Ink is float32 [H, W], 1 at full strength on 0.
"""

import io
import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy import ndimage

Pixels = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

RASTER = 84
"""Side in pixels of the raster that strokes are thinned on: three for each pixel of a tile."""

EULER_NUMBERS = ({0}, {1}, {0, 1}, {1}, {0, 1, 2}, {1, 2}, {0}, {1, 2}, {-1}, {0})
"""Parts minus loops of an intact digit, for 0 to 9: a 5 has one part or two, an 8 has one part and two loops."""


def redrawable(tiles: Pixels, labels: Sequence[int]) -> Mask:
    """Whether each of the tiles [N, 28, 28] has all parts and loops of its digit; bool [N].

    A digit whose loop is filled with ink would be redrawn as another digit.
    """
    numbers = [_euler_number(_strokes(tile)) for tile in tiles]
    return np.array([number in EULER_NUMBERS[label] for number, label in zip(numbers, labels, strict=True)])


def _euler_number(mask: Mask) -> int:
    """8-connected parts minus loops, which are 4-connected parts of the background that touch no border."""
    _, parts = ndimage.label(mask, np.ones((3, 3)))
    _, background = ndimage.label(~np.pad(mask, 1))
    return int(parts - background + 1)


def _strokes(tile: Pixels) -> Mask:
    """The ink of a tile, [RASTER, RASTER]."""
    image = Image.fromarray(tile).resize((RASTER, RASTER), Image.Resampling.BICUBIC)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1))) > 100


def skeleton(tile: Pixels) -> Plane:
    """The centre line of a tile's strokes, 0 or 1, [RASTER, RASTER] (Zhang and Suen 1984)."""
    mask = np.pad(_strokes(tile), 1)
    while True:
        before = mask.sum()
        for first in (True, False):
            mask = mask & ~_removable(mask, first)
        if mask.sum() == before:
            return mask[1:-1, 1:-1].astype(np.float32)


def _removable(mask: Mask, first: bool) -> Mask:
    """Border pixels that one pass removes: the first pass in the south-east, the second in the north-west."""
    steps = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]
    north, _, east, _, south, _, west, _ = ring = [np.roll(mask, (-y, -x), (0, 1)) for y, x in steps]
    neighbours = np.sum(ring, axis=0)
    crossings = np.sum([~ring[i] & ring[(i + 1) % 8] for i in range(8)], axis=0)
    if first:
        side = ~(north & east & south) & ~(east & south & west)
    else:
        side = ~(north & east & west) & ~(north & south & west)
    removable: Mask = mask & (neighbours >= 2) & (neighbours <= 6) & (crossings == 1) & side
    return removable


def redrawn(rng: Generator, tile: Pixels, length: int, width: float) -> Plane:
    """Ink of a tile's digit in another hand, [h, w], cropped: its longer side and its stroke width are in pixels.

    It is rotated, slanted and stretched a little. Strokes are at least length / 30 wide.
    """
    line = cropped(skeleton(tile), 0)
    scale = (length - width) / max(line.shape)
    width = max(width, length / 30)
    margin = math.ceil(0.6 * width + 0.15 * length)
    height, breadth = (max(1, round(side * scale)) for side in line.shape)
    canvas = np.zeros((height + 2 * margin, breadth + 2 * margin), np.uint8)
    image = Image.fromarray((line * 255).astype(np.uint8)).resize((breadth, height), Image.Resampling.BILINEAR)
    canvas[margin : margin + height, margin : margin + breadth] = np.asarray(image)
    # Blur removes the steps of the raster; the threshold leaves a line of even width.
    image = slanted(rng, Image.fromarray(canvas)).filter(ImageFilter.GaussianBlur(0.7 * scale))
    blurred = np.asarray(image)
    return cropped(stroked(blurred > 0.4 * blurred.max(), max(1.0, width - 1.8 * scale)), 0.05)


def stroked(line: Mask, width: float) -> Plane:
    """Ink of a line drawn with a round pen of that width, with edges one pixel soft."""
    distances: Plane = ndimage.distance_transform_edt(~line).astype(np.float32)
    return (width / 2 + 0.5 - distances).clip(0, 1)


def slanted(rng: Generator, image: Image.Image, strength: float = 1.0) -> Image.Image:
    """Rotates by up to 8 degrees and shears by up to 0.15, times strength, about the middle of the picture."""
    angle = strength * math.radians(rng.uniform(-8, 8))
    shear = strength * rng.uniform(-0.15, 0.15)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[cos, shear * cos - sin], [sin, shear * sin + cos]]) * rng.uniform(0.97, 1.03, (2, 1))
    return transformed(image, matrix, Image.Resampling.BICUBIC)


def transformed(
    image: Image.Image,
    matrix: NDArray[np.float64],
    resampling: Image.Resampling,
    shift: tuple[float, float] = (0, 0),
) -> Image.Image:
    """The image whose pixel p (right, down) from the middle shows the pixel matrix @ p - shift from it."""
    middle = np.array(image.size) / 2
    offset = middle - matrix @ middle - shift
    data = (*matrix[0], offset[0], *matrix[1], offset[1])
    return image.transform(image.size, Image.Transform.AFFINE, data, resampling)


def cropped(plane: Plane, threshold: float) -> Plane:
    """The bounding box of the values above the threshold, of which there is at least one."""
    rows, columns = np.nonzero(plane > threshold)
    return plane[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


def placed(rng: Generator, digit: Plane, height: int, width: int, position: tuple[float, float] | None = None) -> Plane:
    """The digit on an empty plane of at least that size.

    position: how far (down, right), 0 at one edge and 1 at the other; random if not given.
    """
    plane = np.zeros((max(height, digit.shape[0]), max(width, digit.shape[1])), np.float32)
    room = np.array(plane.shape) - digit.shape
    row, column = np.rint(room * (rng.uniform(size=2) if position is None else position)).astype(int)
    plane[row : row + digit.shape[0], column : column + digit.shape[1]] = digit
    return plane


def evenly_spaced(rng: Generator, count: int, distance: float, thickness: float) -> Mask:
    """Which of `count` rows belong to parallel lines of that thickness, `distance` apart, from a random offset."""
    spaced: Mask = (np.arange(count) + rng.uniform(0, distance)) % distance < thickness
    return spaced


def ruled_lines(rng: Generator, shape: tuple[int, ...], distance: float, squared: bool, tilt: float = 0) -> Plane:
    """Ink [H, W] of horizontal lines `distance` pixels apart, and of vertical ones if squared; tilt: in degrees."""
    side = math.ceil(1.1 * math.hypot(*shape))
    thickness = int(rng.integers(1, 2 + int(distance) // 25))
    rows = evenly_spaced(rng, side, distance, thickness)
    columns = evenly_spaced(rng, side, distance, thickness if squared else 0)
    lines = Image.fromarray((255 * (rows[:, None] | columns)).astype(np.uint8))
    tilted: Plane = np.asarray(lines.rotate(tilt, Image.Resampling.BICUBIC), np.float32) / np.float32(255)
    top, left = ((side - length) // 2 for length in shape)
    return tilted[top : top + shape[0], left : left + shape[1]]


def black_on_white(ink: Plane, reduction: int = 1) -> bytes:
    """A PNG; reduction: how many pixels on a side of the ink are averaged into one."""
    return encode(255 - 255 * np.asarray(Image.fromarray(ink).reduce(reduction)))


def encode(pixels: NDArray[np.floating] | Pixels, quality: int | None = None) -> bytes:
    """Grey [H, W] or RGB [H, W, 3] levels 0..255 as a PNG, or as a JPEG of that quality."""
    image = Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
