"""A hand that the released models read badly: USPS digits, slanted and turned by a fixed amount."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import DataError
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise

SHEAR, TURN = 0.55, -28
"""Columns to the right a row; degrees against the clock."""
_SIDE, _CANVAS = 64, 128


@dataclass(frozen=True)
class Hand:
    """pictures: PNG files; tiles: the same, normalised, uint8 [N, 28, 28]; labels: int64 [N]."""

    pictures: list[bytes]
    tiles: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load(path: Path) -> Hand:
    """From lines of a label and 16x16 grey values between -1 and 1. Raises DataError."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            rows = np.loadtxt(lines, dtype=np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can not be read as USPS digits: {error}") from error
    pictures = [_written(row.reshape(16, 16)) for row in rows[:, 1:]]
    tiles = np.stack([normalise(decode(picture)).pixels for picture in pictures])
    return Hand(pictures, tiles, rows[:, 0].astype(np.int64))


def _written(grey: NDArray[np.float32]) -> bytes:
    image = Image.fromarray(np.rint((grey + 1) * 127.5).astype(np.uint8)).resize(
        (_SIDE, _SIDE), Image.Resampling.BICUBIC
    )
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    canvas.paste(image, ((_CANVAS - _SIDE) // 2,) * 2)
    slant = (1, SHEAR, -SHEAR * _CANVAS / 2, 0, 1, 0)
    canvas = canvas.transform(canvas.size, Image.Transform.AFFINE, slant, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    canvas.rotate(TURN, Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()
