"""The feedback that the job runner exports for a job, and its split into what is trained on and what is held out."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from models.errors import DataError
from training.data.mnist import Digits

HELD_OUT_EVERY = 5
NO_FEEDBACK = Digits(torch.zeros(0, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class Feedback:
    """The tiles with their labels; ids: the sha256 of each tile in hexadecimal."""

    digits: Digits
    ids: list[str]


def read(path: Path) -> Feedback:
    """Reads a .npy array of records with the fields id, label and tile, uint8 [28, 28]. Raises DataError."""
    try:
        records = np.load(path, allow_pickle=False)
        images, labels = records["tile"], records["label"]
        ids = records["id"].astype(str).tolist()
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise DataError(f"{path} cannot be read as the feedback of a job: {error}") from error
    if images.shape[1:] != (28, 28) or images.dtype != np.uint8:
        raise DataError(f"{path} holds tiles {images.dtype} {images.shape}; expected uint8 (N, 28, 28)")
    digits = Digits(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(labels.astype(np.int64)))
    return Feedback(digits, ids)


def split(feedback: Feedback, held_out_digits: Digits) -> tuple[Digits, Digits]:
    """(Trained on, held out). One in five is held out by its own hash, so that it never changes sides.

    Feedback that shows a held-out MNIST digit, which somebody may send, is never trained on.
    """
    held_out = torch.tensor([int(name, 16) % HELD_OUT_EVERY == 0 for name in feedback.ids], dtype=torch.bool)
    mnist = {hashlib.sha256(tile.numpy().tobytes()).hexdigest() for tile in held_out_digits.images}
    known = torch.tensor([name in mnist for name in feedback.ids], dtype=torch.bool)
    return feedback.digits[~held_out & ~known], feedback.digits[held_out]
