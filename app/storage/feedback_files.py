"""The feedback tiles of HOMEs from before migration 0002: a PNG for each row, HOME/feedback/ab/ID.png."""

import hashlib
import io
import shutil
from contextlib import suppress
from pathlib import Path

from models import fs
from models.errors import InklingError

_MAX_BYTES = 65_536


class BrokenPicture(InklingError):
    """The picture is missing or is not the tile that its id names."""


def folder_of(home: Path) -> Path:
    return home / "feedback"


def read_tile(home: Path, name: str) -> bytes:
    """The 784 bytes of a tile. Raises BrokenPicture, or OSError for a file that exists and cannot be read."""
    from PIL import Image  # only an old HOME needs it

    path = folder_of(home) / name[:2] / f"{name}.png"
    try:
        data = fs.read_regular(path, _MAX_BYTES)
    except FileNotFoundError:
        raise BrokenPicture(f"{path} is missing") from None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if (image.size, image.mode) != ((28, 28), "L"):
                raise BrokenPicture(f"{path} is not a tile of 28 x 28 grey levels")
            tile = image.tobytes()
    except BrokenPicture:
        raise
    except Exception as error:  # Pillow passes on any error of its decoders
        raise BrokenPicture(f"{path} is broken: {error}") from error
    if hashlib.sha256(tile).hexdigest() != name:
        raise BrokenPicture(f"{path} does not have the sha256 that its name says")
    return tile


def remove(home: Path) -> None:
    """Removes the pictures; other files in the folder stay."""
    for part in folder_of(home).glob("[0-9a-f][0-9a-f]"):
        shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):  # missing, or not empty
        folder_of(home).rmdir()
