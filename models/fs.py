"""Folders that something is to be written to."""

import os
import tempfile
from pathlib import Path

from models.errors import HomeError


def check_writable(folder: Path, name: str = "probe") -> None:
    """Makes the folder where it is missing. Raises HomeError naming it and the uid that can not write there.

    name: of what is to be written, for a file system that finds it too long.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder)).rmdir()
    except OSError as error:
        raise HomeError(f"{folder} can not be written by uid {os.getuid()}: {error.strerror}") from error
