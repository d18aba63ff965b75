"""Labelled pictures from disk: MNIST, a folder of folders 0 to 9, or a USPS file.

A picture is encoded bytes, as a client would send them. Broken data raises DataError that names file and line.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import DataError, printable
from training.data import mnist
from training.evaluation.generators.rendering import encode

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
USPS_SIDE = 16
NO_DIGIT = -1
"""The label of a picture that shows no digit."""


@dataclass(frozen=True)
class Sample:
    """A picture, read or generated on demand; name says where it comes from."""

    name: str
    label: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Dataset:
    name: str
    samples: list[Sample]


def load(path: Path) -> Dataset:
    """The data set at a path: a folder that holds MNIST/raw (its test set), a folder of folders 0 to 9, or a USPS file.

    Raises DataError.
    """
    if (path / "MNIST" / "raw").is_dir():
        for file in mnist.files(path, "t10k"):
            if not file.is_file():
                raise DataError(f"{file} is missing: the MNIST test set needs both t10k files")
        return of_digits("MNIST test", mnist.test_set(path, download=False))
    if path.is_dir():
        return Dataset(printable(path.resolve().name), list(_tree(path)))
    if path.is_file():
        return Dataset(f"USPS {printable(path.name)}", list(_usps(path)))
    raise DataError(f"{path} does not exist: expected MNIST's folder, a folder of folders 0 to 9, or a zip.*.gz file")


def of_digits(name: str, digits: mnist.Digits) -> Dataset:
    """Each tile as a PNG of 28 x 28 pixels."""
    pairs = enumerate(zip(digits.labels.tolist(), digits.images.numpy(), strict=True))
    return Dataset(name, [Sample(f"{name} {index}", label, partial(encode, tile)) for index, (label, tile) in pairs])


def _tree(folder: Path) -> Iterator[Sample]:
    found = 0
    for entry in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if entry.name not in map(str, range(10)):
            raise DataError(f"{entry} is not a label: expected folders named 0 to 9")
        for path in sorted(entry.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
                found += 1
                yield Sample(printable(path), int(entry.name), partial(_read, path))
    if not found:
        raise DataError(f"{folder} holds neither MNIST/raw nor pictures in folders named 0 to 9")


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _usps(path: Path) -> Iterator[Sample]:
    """Lines of a label and 16x16 grey values from -1 (paper) to 1 (ink), the format of Hastie et al."""
    number = 0
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            for number, line in enumerate(lines, start=1):
                label, tile = _usps_line(line, f"{path}, line {number}")
                yield Sample(f"{path.name} line {number}", label, partial(encode, tile))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as gzip text beyond line {number}: {reason}") from error
    if number == 0:
        raise DataError(f"{path} is empty: expected lines of a label and 256 grey values")


def _usps_line(line: str, where: str) -> tuple[int, NDArray[np.uint8]]:
    try:
        label, *values = map(float, line.split())
    except ValueError:
        raise DataError(f"{where}: expected a label and 256 numbers") from None
    if len(values) != USPS_SIDE**2:
        raise DataError(f"{where}: expected 256 grey values after the label, found {len(values)}")
    if label not in range(10):
        raise DataError(f"{where}: the label is {label:g} instead of 0 to 9")
    grey = np.array(values).reshape(USPS_SIDE, USPS_SIDE)
    if not (np.abs(grey) <= 1).all():
        raise DataError(f"{where}: a grey value is not within -1 to 1")
    return int(label), np.rint((grey + 1) * 127.5).astype(np.uint8)
