"""MNIST as tensors, read by torchvision, and the held-out digits that no model is ever trained on."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from models.errors import DataError

HELD_OUT = 5_000
COUNTS = {"train": 60_000, "t10k": 10_000}
FILES = tuple(f"{part}-{kind}-ubyte" for part in COUNTS for kind in ("images-idx3", "labels-idx1"))


@dataclass(frozen=True)
class Digits:
    """images: uint8 [N, 28, 28]; labels: int64 [N]."""

    images: Tensor
    labels: Tensor

    @classmethod
    def from_floats(cls, tiles: Tensor, labels: Tensor) -> "Digits":
        """tiles: float [N, 1, 28, 28] in 0..1."""
        return cls((255 * tiles[:, 0]).round().to(torch.uint8), labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> "Digits":
        return Digits(self.images[indices], self.labels[indices])

    def to(self, device: torch.device) -> "Digits":
        return Digits(self.images.to(device), self.labels.to(device))

    def fingerprint(self) -> str:
        """sha256 of the images and then the labels, as bytes."""
        digest = hashlib.sha256(self.images.numpy().tobytes())
        digest.update(self.labels.to(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def training_set(folder: Path, download: bool = True) -> Digits:
    """The 60,000 digits in folder/MNIST/raw, fetched if they are missing and `download` allows it. Raises DataError."""
    return _load(folder, "train", download)


def test_set(folder: Path, download: bool = True) -> Digits:
    """The 10,000 digits of the test set. Raises DataError."""
    return _load(folder, "t10k", download)


def files(folder: Path, part: str) -> list[Path]:
    """The files of images and of labels of a part, `train` or `t10k`."""
    return [folder / "MNIST" / "raw" / name for name in FILES if name.startswith(part)]


def held_out_indices() -> Tensor:
    """int64 [5000], ascending: the training images whose index has the smallest sha256."""
    ranked = sorted(range(60_000), key=lambda index: hashlib.sha256(f"held-out {index}".encode()).digest())
    return torch.tensor(sorted(ranked[:HELD_OUT]))


def held_out_sha256() -> str:
    """sha256 of the indices as decimal numbers, each followed by a newline."""
    return hashlib.sha256("".join(f"{index}\n" for index in held_out_indices().tolist()).encode()).hexdigest()


def split(digits: Digits) -> tuple[Digits, Digits]:
    """The MNIST training set in two: 55,000 digits to train on and the 5,000 held out."""
    held_out = torch.zeros(len(digits), dtype=torch.bool)
    held_out[held_out_indices()] = True
    return digits[~held_out], digits[held_out]


def _load(folder: Path, part: str, download: bool) -> Digits:
    from torchvision.datasets.mnist import read_image_file, read_label_file  # seconds to import

    images, labels = files(folder, part)
    if not (images.is_file() and labels.is_file()):
        _download(folder, download)
    count = COUNTS[part]
    digits = Digits(_read(read_image_file, images, (count, 28, 28)), _read(read_label_file, labels, (count,)))
    if not 0 <= int(digits.labels.min()) <= int(digits.labels.max()) <= 9:
        raise DataError(f"{labels} holds labels other than 0 to 9; delete it to fetch it again")
    return digits


def _read(parse: Callable[[str], Tensor], path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        found = parse(str(path))
    except Exception as error:  # torchvision asserts, and views buffers of the wrong length
        reason = str(error) or "it is not in MNIST's format"
        raise DataError(f"{path} cannot be read: {reason}; delete it to fetch it again") from error
    if found.shape != shape:
        raise DataError(f"{path} holds an array {list(found.shape)}; expected {list(shape)}")
    return found


def _download(folder: Path, allowed: bool) -> None:
    from torchvision.datasets import MNIST

    raw = folder / "MNIST" / "raw"
    ways_out = f"put {', '.join(FILES)} there, or point INKLING_DATA at a folder that holds MNIST/raw"
    if not allowed:
        raise DataError(f"MNIST is not in {raw}, and INKLING_DOWNLOAD=false forbids fetching it: {ways_out}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".mnist-", dir=folder))
    except OSError as error:
        raise DataError(f"MNIST is not in {raw}, which cannot be written ({error.strerror}): {ways_out}") from error
    # In a folder of its own, so that an interrupted download is never taken for the data.
    try:
        MNIST(str(temporary), download=True)
        raw.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (temporary / "MNIST" / "raw" / name).replace(raw / name)
    except (RuntimeError, OSError) as error:
        reason = str(error).strip().replace("\n", " ")
        raise DataError(f"MNIST is not in {raw} and could not be fetched ({reason}): {ways_out}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
