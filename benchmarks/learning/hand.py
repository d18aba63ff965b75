"""Handwriting that the released models read badly: USPS digits, slanted and rotated by a fixed amount."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.pictures import encode
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.evaluation import datasets

SLANT, ANGLE = 0.55, -28
"""Columns to the right for each row; degrees counterclockwise."""
_SIDE, _CANVAS = 64, 128


@dataclass(frozen=True)
class Hand:
    """pictures: PNG files; tiles: the same pictures, normalised, uint8 [N, 28, 28]; labels: int64 [N]."""

    pictures: list[bytes]
    tiles: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load(path: Path) -> Hand:
    """Reads a USPS file. Raises DataError."""
    samples = datasets.load(path).samples
    pictures = [_distorted(sample.read()) for sample in samples]
    tiles = np.stack([normalise(decode(picture)).pixels for picture in pictures])
    return Hand(pictures, tiles, np.array([sample.label for sample in samples]))


def _distorted(picture: bytes) -> bytes:
    canvas = Image.new("L", (_CANVAS, _CANVAS))
    with Image.open(io.BytesIO(picture)) as image:
        enlarged = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    canvas.paste(enlarged, ((_CANVAS - _SIDE) // 2,) * 2)
    slant = (1, SLANT, -SLANT * _CANVAS / 2, 0, 1, 0)
    canvas = canvas.transform(canvas.size, Image.Transform.AFFINE, slant, Image.Resampling.BICUBIC)
    return encode(canvas.rotate(ANGLE, Image.Resampling.BICUBIC), "PNG")
