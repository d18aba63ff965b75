"""Any picture of a digit to MNIST's own convention: 28x28, ink bright on black, 20 pixels long, centred by mass.

The convention is that of LeCun et al. 1998: the digit's longest side is 20 pixels, and its centre of mass lies in the
middle of the tile. A picture that keeps to it already comes out unchanged, byte for byte.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from models.errors import NothingDrawn
from models.preprocessing import ink_segmentation as inks
from models.preprocessing.decode import Picture, Pixels
from models.preprocessing.morphology import Mask, Plane, dilate, stroke_width

TILE_SIDE, DIGIT_BOX = 28, 20

Step = Literal["oriented", "alpha", "inverted", "background", "cropped", "scaled", "centred"]


@dataclass(frozen=True)
class Tile:
    """pixels: uint8 [28, 28], ink 255 on background 0; steps: what was done to get there, in order."""

    pixels: Pixels
    steps: tuple[Step, ...]


def normalise(picture: Picture) -> Tile:
    """Finds the digit and brings it into MNIST's shape. Raises NothingDrawn when there is no ink."""
    if may_be_ready(picture) and _is_ready(picture.pixels):
        return Tile(picture.pixels, ())
    return _normalise(picture)


def normalise_all(pictures: Sequence[Picture]) -> list[Tile | NothingDrawn]:
    """As `normalise`, or why not, for several that may be ready: a look at many takes little more than at one."""
    if not pictures:
        return []
    found: list[Tile | NothingDrawn] = []
    if len(pictures) == 1:
        ready = [_is_ready(pictures[0].pixels)]
    else:
        ready = _are_ready(np.stack([picture.pixels for picture in pictures])).tolist()
    for picture, is_ready in zip(pictures, ready, strict=True):
        try:
            found.append(Tile(picture.pixels, ()) if is_ready else _normalise(picture))
        except NothingDrawn as error:
            found.append(error)
    return found


def may_be_ready(picture: Picture) -> bool:
    """Whether the picture has what a ready tile has, as far as that can be told without looking at its pixels."""
    return (
        picture.pixels.shape == (TILE_SIDE, TILE_SIDE)
        and picture.alpha is None
        and not picture.lossy
        and not picture.oriented
    )


def _normalise(picture: Picture) -> Tile:
    steps: list[Step] = ["oriented"] if picture.oriented else []
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = _on_ground(pixels, picture.alpha)
        steps.append("alpha")

    ink, separated = inks.separate(pixels, picture.lossy)
    steps += separated

    if _is_tile(ink) or _is_tile(parts := inks.main_parts(ink)):
        return Tile(np.rint(ink).astype(np.uint8), tuple(steps))

    top, bottom, left, right = _bounds(parts)
    digit = parts[top:bottom, left:right]
    if digit.shape != ink.shape:
        steps.append("cropped")
    if _off_size(digit):
        digit = _scale(digit, DIGIT_BOX / max(digit.shape))
        steps.append("scaled")
    steps.append("centred")
    return Tile(_centred(digit), tuple(steps))


_MOMENTS = np.stack([np.ones(TILE_SIDE), np.arange(TILE_SIDE)]).astype(np.float32)


def _is_ready(pixels: Pixels) -> bool:
    """Whether a tile [28, 28] is plainly of MNIST's own convention; the general way would give it back unchanged.

    Plainly: bright ink on exactly 0, and an empty border. Ink of that size leaves most of the next ring empty too, so
    that the ground can only be 0.
    """
    plane = pixels.astype(np.float32)
    # The sum of each column, and the same weighted by the row; then of each row. Whole numbers, so they are exact.
    columns, weighted_by_row = _MOMENTS @ plane
    rows, weighted_by_column = (plane @ _MOMENTS.T).T
    top, bottom = _extent(rows)
    left, right = _extent(columns)
    if min(top, left) < 1 or max(bottom, right) > TILE_SIDE - 1 or abs(max(bottom - top, right - left) - DIGIT_BOX) > 1:
        return False
    total = float(rows.sum())
    row, column = float(weighted_by_row.sum()) / total, float(weighted_by_column.sum()) / total
    return _is_centred(top, bottom, row) and _is_centred(left, right, column) and bool(pixels.max() >= 200)


def _extent(sums: Plane) -> tuple[int, int]:
    """The first that is not 0, and the one after the last; -1 and 0 where there is none."""
    found = (sums > 0).tobytes()
    return found.find(1), found.rfind(1) + 1


def _is_centred(start: int, end: int, mean: float) -> bool:
    """Along one axis, as `_place` has it; `mean` is the centre of mass, counted from the tile's edge."""
    place = min(max(round(14 - (mean - start)), 0), TILE_SIDE - (end - start))
    return abs(place - start) <= 1


def _are_ready(tiles: Pixels) -> Mask:
    """`_is_ready` of each of tiles [N, 28, 28]; of one, it would take twice as long."""
    planes = tiles.astype(np.float32)
    sums = np.stack([planes.sum(axis=2), planes.sum(axis=1)])  # of rows and of columns; whole numbers, so exact
    has_ink = sums > 0
    start, end = has_ink.argmax(axis=2), TILE_SIDE - has_ink[:, :, ::-1].argmax(axis=2)
    # Along each axis, as `_place` has it; the mean is the centre of mass, counted from the tile's edge.
    means = (sums @ _MOMENTS[1]).astype(np.float64) / sums.sum(axis=2).clip(1)
    places = np.rint(14 - (means - start)).clip(0, TILE_SIDE - (end - start))
    sized = np.abs((end - start).max(axis=0) - DIGIT_BOX) <= 1
    framed = (start >= 1) & (end <= TILE_SIDE - 1) & (np.abs(places - start) <= 1)
    ready: Mask = framed.all(axis=0) & sized & (tiles.max(axis=(1, 2)) >= 200)
    return ready


def _is_tile(ink: Plane) -> bool:
    """Whether the digit has its size and place already; then nothing is cut off the picture, not even specks."""
    if ink.shape != (TILE_SIDE, TILE_SIDE):
        return False
    top, bottom, left, right = _bounds(ink)
    digit = ink[top:bottom, left:right]
    row, column = _place(digit)
    return not _off_size(digit) and abs(row - top) <= 1 and abs(column - left) <= 1


def _off_size(digit: Plane) -> bool:
    """One pixel off is not worth a resampling: a few of MNIST's own digits are 19 pixels long."""
    return max(digit.shape) not in (DIGIT_BOX - 1, DIGIT_BOX, DIGIT_BOX + 1)


def _on_ground(pixels: Pixels, alpha: Pixels) -> Pixels:
    """Lays a picture with alpha on a ground that its ink stands out from."""
    if alpha.max() == 0:
        raise NothingDrawn("nothing is drawn: the picture is transparent everywhere")
    cover = alpha.astype(np.float32)[..., None] / 255
    planes = pixels.reshape(*alpha.shape, -1).astype(np.float32)
    visible = alpha > 127 if (alpha > 127).any() else alpha > 0
    colours = planes[visible]
    if visible.mean() > 0.5 and np.ptp(colours, axis=0).max() > 64:
        ground = np.median(colours, axis=0)  # a card with transparent corners: go on with the card's own colour
    else:
        ground = np.full(planes.shape[-1], 255.0 if colours.mean() < 128 else 0.0)
    laid = np.rint(planes * cover + ground.astype(np.float32) * (1 - cover)).astype(np.uint8)
    return laid[..., 0] if pixels.ndim == 2 else laid


def _bounds(ink: Plane) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        raise NothingDrawn("nothing is drawn: the picture has no ink that stands out from its background")
    if len(ink) > TILE_SIDE and max(np.ptp(rows), np.ptp(columns)) < 3:
        raise NothingDrawn("nothing is drawn: all there is is a dot")
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _scale(digit: Plane, factor: float) -> Plane:
    """To the box's size. Strokes that would fade in the reduction are made wider first, then ink is full again."""
    height, width = (max(1, round(side * factor)) for side in digit.shape)
    if factor < 1:
        digit = _widen(digit, height, width)
    resampling = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    scaled: Plane = np.asarray(Image.fromarray(digit).resize((width, height), resampling)).clip(0, 255)
    peak = float(scaled.max())
    return np.rint(scaled * (255 / peak) if peak < 240 else scaled)


def _widen(digit: Plane, height: int, width: int) -> Plane:
    """Dilates strokes thinner than THIN pixels of the tile, at four times the tile's resolution."""
    fine, thin = 4, 0.9
    stroke = stroke_width(digit) * max(height, width) / max(digit.shape)
    if stroke >= thin:
        return digit
    image = Image.fromarray(digit).resize((width * fine, height * fine), Image.Resampling.BOX)
    plane = np.asarray(image)
    plane = (plane * (255 / plane.max())).clip(0, 255).astype(np.float32)
    for _ in range(round((thin - stroke) * fine / 2)):
        plane = dilate(plane)
    return plane


def _place(digit: Plane) -> tuple[int, int]:
    """Row and column at which the digit's centre of mass, in pixel indices, comes to lie at 14."""
    total = digit.sum()
    means = (float((digit.sum(axis=1 - axis) * np.arange(digit.shape[axis])).sum() / total) for axis in (0, 1))
    row, column = (
        min(max(round(14 - mean), 0), TILE_SIDE - side) for mean, side in zip(means, digit.shape, strict=True)
    )
    return row, column


def _centred(digit: Plane) -> Pixels:
    row, column = _place(digit)
    tile = np.zeros((TILE_SIDE, TILE_SIDE), np.uint8)
    tile[row : row + digit.shape[0], column : column + digit.shape[1]] = np.rint(digit)
    return tile
