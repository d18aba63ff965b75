"""Normalises the image of one digit to a tile that follows MNIST's convention.

A tile is 28 x 28 pixels, bright ink on a black background. The digit's longer side is 20 pixels, and its centre of mass
lies at pixel index 14 of both axes (LeCun et al. 1998). An image that follows the convention comes out unchanged, byte
for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import NothingDrawn
from models.preprocessing import ink_segmentation
from models.preprocessing.decode import Picture, Pixels
from models.preprocessing.morphology import Mask, Plane, dilate, resize, stroke_width

TILE_SIDE = 28  # pixels
DIGIT_BOX = 20  # pixels of the digit's longer side in a tile
TOLERANCE = 1  # pixels by which size and offset may differ: MNIST has digits of 19, and resampling costs detail
MIN_PEAK = 200  # of 255; a tile that skips segmentation has a pixel at least this bright
MIN_STROKE = 0.9  # pixels of the tile; thinner strokes fade when an image is reduced
SUPERSAMPLING = 4  # the resolution at which strokes are thickened, relative to the tile's
MIN_EXTENT = 3  # pixels; ink that spans fewer in an image larger than a tile is a dot, not a digit

Step = Literal["oriented", "alpha", "inverted", "background", "cropped", "scaled", "centred"]


@dataclass(frozen=True)
class Tile:
    """pixels: uint8 [28, 28], ink 255 on background 0; steps: what normalisation did, in order."""

    pixels: Pixels
    steps: tuple[Step, ...]


def normalise(picture: Picture) -> Tile:
    """Finds the digit and brings it into MNIST's convention. Raises NothingDrawn when the image shows no ink."""
    if may_be_ready(picture) and _is_ready(picture.pixels[None])[0]:
        return Tile(picture.pixels, ())
    return _normalise(picture)


def normalise_all(pictures: Sequence[Picture]) -> list[Tile | NothingDrawn]:
    """Normalises images that pass `may_be_ready`, several at about the cost of one; returns errors in their place."""
    if not pictures:
        return []
    found: list[Tile | NothingDrawn] = []
    # A view of a lone image: stacking copies, which takes a tenth of the whole check.
    pixels = np.stack([one.pixels for one in pictures]) if len(pictures) > 1 else pictures[0].pixels[None]
    for picture, ready in zip(pictures, _is_ready(pixels).tolist(), strict=True):
        try:
            found.append(Tile(picture.pixels, ()) if ready else _normalise(picture))
        except NothingDrawn as error:
            found.append(error)
    return found


def may_be_ready(picture: Picture) -> bool:
    """Whether the image may be a tile already, as far as its metadata tells."""
    return (
        picture.pixels.shape == (TILE_SIDE, TILE_SIDE)
        and picture.alpha is None
        and not picture.lossy
        and not picture.oriented
    )


def _is_ready(pixels: Pixels) -> Mask:
    """Whether each of pixels [N, 28, 28] is a tile that segmentation would not change, so that it can be skipped.

    With an empty border and bright ink the background can only be level 0.
    """
    ready: Mask = _is_tile(pixels, border=1) & (pixels.max(axis=(1, 2)) >= MIN_PEAK)
    return ready


_ONES = np.ones(TILE_SIDE, np.float32)
_ONES_AND_INDICES = np.stack([_ONES, np.arange(TILE_SIDE, dtype=np.float32)], axis=1)


def _is_tile(inks: Pixels | Plane, border: int = 0) -> Mask:
    """Whether the digit in each of inks [N, 28, 28] has the size and offset of MNIST's convention.

    border: pixels at each edge that must be empty.
    """
    planes = inks.astype(np.float32)
    profiles = np.empty((2, len(planes), TILE_SIDE), np.float32)  # ink per row and per column
    np.matmul(planes, _ONES, out=profiles[0])
    np.matmul(_ONES, planes, out=profiles[1])
    has_ink = profiles > 0
    # The empty pixels at either end, [2, N]; as floats, which spares NumPy conversions.
    before = has_ink.argmax(axis=2).astype(np.float64)
    after = has_ink[:, :, ::-1].argmax(axis=2).astype(np.float64)
    length = TILE_SIDE - before - after
    sums = (profiles @ _ONES_AND_INDICES).astype(np.float64)
    offset = _offset(sums[..., 1] / np.maximum(sums[..., 0], 1) - before, length)
    placed = (np.abs(offset - before) <= TOLERANCE) & (np.minimum(before, after) >= border)
    longer = np.maximum(length[0], length[1])
    tile: Mask = placed[0] & placed[1] & (np.abs(longer - DIGIT_BOX) <= TOLERANCE)
    return tile


def _offset(centre: NDArray[np.floating], length: NDArray[np.number]) -> NDArray[np.floating]:
    """Where a digit of that length, with its centre of mass at index `centre`, begins in a tile, along one axis."""
    offset: NDArray[np.floating] = np.minimum(np.maximum(np.rint(TILE_SIDE / 2 - centre), 0), TILE_SIDE - length)
    return offset


def _normalise(picture: Picture) -> Tile:
    steps: list[Step] = ["oriented"] if picture.oriented else []
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = _composite(pixels, picture.alpha)
        steps.append("alpha")

    ink, segmentation_steps = ink_segmentation.segment(pixels, picture.lossy)
    steps += segmentation_steps
    # Specks stay in a tile: MNIST's own digits have some.
    if _fits_tile(ink) or _fits_tile(digit := ink_segmentation.isolate_digit(ink)):
        return Tile(np.rint(ink).astype(np.uint8), tuple(steps))

    digit = digit[_bounding_box(digit)]
    if digit.shape != ink.shape:
        steps.append("cropped")
    if abs(max(digit.shape) - DIGIT_BOX) > TOLERANCE:
        digit = _scale_to_box(digit)
        steps.append("scaled")
    steps.append("centred")
    return Tile(_centre(digit), tuple(steps))


def _fits_tile(ink: Plane) -> bool:
    return ink.shape == (TILE_SIDE, TILE_SIDE) and bool(_is_tile(ink[None])[0])


def _composite(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Lays an image with alpha on a uniform background that contrasts with its ink.

    Takes visible pixels for ink, unless they cover over half of the image and vary by more than 64 levels of 255.
    """
    if alpha.max() == 0:
        raise NothingDrawn("nothing is drawn: the image is transparent everywhere")
    opacity = alpha.astype(np.float32)[..., None] / 255
    planes = pixels.reshape(*alpha.shape, -1).astype(np.float32)
    visible = alpha > 127 if (alpha > 127).any() else alpha > 0
    colours = planes[visible]
    if visible.mean() > 0.5 and np.ptp(colours, axis=0).max() > 64:
        background = np.median(colours, axis=0)  # an opaque card: its transparent corners get its colour
    else:
        background = np.full(planes.shape[-1], 255.0 if colours.mean() < 128 else 0.0)
    blended = np.rint(planes * opacity + background.astype(np.float32) * (1 - opacity)).astype(np.uint8)
    return blended[..., 0] if pixels.ndim == 2 else blended


def _bounding_box(ink: Plane) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        raise NothingDrawn("nothing is drawn: the image has no ink that stands out from its background")
    if len(ink) > TILE_SIDE and max(np.ptp(rows), np.ptp(columns)) < MIN_EXTENT:
        raise NothingDrawn("nothing is drawn: the image shows only a dot")
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _scale_to_box(digit: Plane) -> Plane:
    """Resizes the digit to 20 pixels on its longer side and restores the contrast that a reduction takes."""
    factor = DIGIT_BOX / max(digit.shape)
    height, width = (max(1, round(side * factor)) for side in digit.shape)
    if factor < 1:
        scaled = resize(_thicken_strokes(digit, height, width), (height, width), Image.Resampling.BOX)
    else:
        scaled = resize(digit, (height, width), Image.Resampling.BICUBIC)
    scaled = scaled.clip(0, 255)
    peak = float(scaled.max())
    return np.rint(scaled * (255 / peak) if peak < 240 else scaled)


def _thicken_strokes(digit: Plane, height: int, width: int) -> Plane:
    """Dilates strokes that would be thinner than MIN_STROKE once the digit has that height and width."""
    stroke = stroke_width(digit) * max(height, width) / max(digit.shape)
    if stroke >= MIN_STROKE:
        return digit
    plane = resize(digit, (height * SUPERSAMPLING, width * SUPERSAMPLING), Image.Resampling.BOX)
    plane = (plane * (255 / plane.max())).clip(0, 255).astype(np.float32)
    return dilate(plane, round((MIN_STROKE - stroke) * SUPERSAMPLING / 2))


def _centre(digit: Plane) -> Pixels:
    """Pastes the digit into an empty tile with its centre of mass at pixel index 14."""
    total = digit.sum()
    centre = [(digit.sum(axis=1 - axis) * np.arange(digit.shape[axis])).sum() / total for axis in (0, 1)]
    row, column = _offset(np.array(centre), np.array(digit.shape)).astype(int)
    tile = np.zeros((TILE_SIDE, TILE_SIDE), np.uint8)
    tile[row : row + digit.shape[0], column : column + digit.shape[1]] = np.rint(digit)
    return tile
