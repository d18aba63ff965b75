"""The corrections that the service hands over: a tree of tiles, LABEL/ID.png, the ID being the sha256 of the tile."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.errors import DataError
from models.preprocessing.decode import Pixels
from training.data.mnist import Digits

HELD_OUT_EVERY = 5
NONE = Digits(torch.zeros(0, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))


def read(folder: Path) -> Digits:
    """The tiles in the order of their IDs, which is no order of theirs. Raises DataError."""
    paths = sorted(folder.glob("[0-9]/*.png"), key=lambda path: path.name)
    if not paths:
        return NONE
    images = torch.from_numpy(np.stack([_tile(path) for path in paths]))
    return Digits(images, torch.tensor([int(path.parent.name) for path in paths]))


def split(corrections: Digits, held_out_digits: Digits) -> tuple[Digits, Digits]:
    """(What may be trained on, held out): one in five by its own hash, so that it never moves between the two.

    A correction that shows a held-out MNIST digit, which somebody may well send, is trained on by no one.
    """
    hashes = [_sha256(tile) for tile in corrections.images]
    forbidden = {_sha256(tile) for tile in held_out_digits.images}
    held_out = torch.tensor([int(found, 16) % HELD_OUT_EVERY == 0 for found in hashes], dtype=torch.bool)
    known = torch.tensor([found in forbidden for found in hashes], dtype=torch.bool)
    return corrections[~held_out & ~known], corrections[held_out]


def _tile(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            tile = np.asarray(image)
    except OSError as error:
        raise DataError(f"{path} can not be read: {error}") from error
    if tile.shape != (28, 28) or tile.dtype != np.uint8:
        raise DataError(f"{path} is no tile of 28 x 28 grey levels")
    return tile


def _sha256(tile: torch.Tensor) -> str:
    return hashlib.sha256(tile.numpy().tobytes()).hexdigest()
