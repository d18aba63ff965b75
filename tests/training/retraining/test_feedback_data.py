import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.errors import DataError
from training.data.mnist import Digits
from training.retraining import feedback_data


def write(folder: Path, count: int) -> dict[str, tuple[int, np.ndarray]]:
    """Tiles as the service exports them: by name, the label and the pixels."""
    written = {}
    for number in range(count):
        tile = np.random.default_rng(number).integers(0, 256, (28, 28), np.uint8)
        name = hashlib.sha256(tile.tobytes()).hexdigest()
        (folder / str(number % 10)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(tile).save(folder / str(number % 10) / f"{name}.png")
        written[name] = (number % 10, tile)
    return written


def names(digits: Digits) -> list[str]:
    return [hashlib.sha256(tile.numpy().tobytes()).hexdigest() for tile in digits.images]


def test_what_was_exported_is_read_with_its_labels(tmp_path: Path) -> None:
    written = write(tmp_path, 30)
    digits = feedback_data.read(tmp_path)
    assert names(digits) == sorted(written)
    assert digits.labels.tolist() == [written[name][0] for name in sorted(written)]


def test_none_at_all(tmp_path: Path) -> None:
    digits = feedback_data.read(tmp_path)
    assert (digits.images.shape, len(digits)) == ((0, 28, 28), 0)
    parts = feedback_data.split(digits, feedback_data.NONE)
    assert [len(part) for part in parts] == [0, 0]


def test_one_in_five_is_held_out_by_its_own_hash(tmp_path: Path) -> None:
    write(tmp_path, 300)
    digits = feedback_data.read(tmp_path)
    trained, held_out = feedback_data.split(digits, feedback_data.NONE)
    assert sorted(names(trained) + names(held_out)) == names(digits)
    assert 35 <= len(held_out) <= 85
    some = torch.arange(0, 300, 3)  # whatever else is there, each stays on its side
    assert set(names(feedback_data.split(digits[some], feedback_data.NONE)[1])) <= set(names(held_out))


def test_a_held_out_mnist_digit_that_somebody_sends_is_not_trained_on(tmp_path: Path) -> None:
    write(tmp_path, 50)
    digits = feedback_data.read(tmp_path)
    trained, held_out = feedback_data.split(digits, feedback_data.NONE)
    again, same = feedback_data.split(digits, trained[torch.tensor([0, 1])])
    assert names(again) == names(trained)[2:]
    assert names(same) == names(held_out)


def test_a_file_that_is_no_tile_is_named(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "a.png").write_text("words")
    with pytest.raises(DataError, match=r"3/a\.png can not be read"):
        feedback_data.read(tmp_path)
    Image.new("L", (5, 5)).save(tmp_path / "3" / "a.png")
    with pytest.raises(DataError, match="is no tile of 28 x 28"):
        feedback_data.read(tmp_path)
