import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from models.errors import DataError
from training.data import mnist
from training.data.mnist import FILES, Digits


def test_training_and_test_set_are_whole(training_digits: Digits, test_digits: Digits) -> None:
    assert training_digits.images.shape == (60_000, 28, 28)
    assert test_digits.images.shape == (10_000, 28, 28)
    assert training_digits.images.dtype == torch.uint8
    assert training_digits.labels.unique().tolist() == list(range(10))


def test_the_held_out_list_never_changes() -> None:
    indices = mnist.held_out_indices()
    assert len(indices) == len(indices.unique()) == 5_000
    text = "".join(f"{index}\n" for index in indices.tolist())
    expected = "0cc5f98e97b12dc94a125280ba30e72978389bbaf88990969f340dd5b9c3da8f"
    assert mnist.held_out_sha256() == hashlib.sha256(text.encode()).hexdigest() == expected


def test_split_separates_the_held_out_digits(training_digits: Digits) -> None:
    digits, held_out = mnist.split(training_digits)
    assert (len(digits), len(held_out)) == (55_000, 5_000)
    assert torch.equal(held_out.images, training_digits.images[mnist.held_out_indices()])
    together = torch.cat([digits.labels, held_out.labels]).bincount()
    assert torch.equal(together, training_digits.labels.bincount())


def test_a_fingerprint_depends_on_every_pixel_and_label() -> None:
    digits = Digits(torch.zeros(3, 28, 28, dtype=torch.uint8), torch.tensor([1, 2, 3]))
    changed = Digits(digits.images.clone(), digits.labels)
    changed.images[1, 2, 3] = 1
    relabelled = Digits(digits.images, torch.tensor([1, 2, 4]))
    assert len({digits.fingerprint(), changed.fingerprint(), relabelled.fingerprint()}) == 3


def test_missing_data_names_the_folder_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        mnist.training_set(tmp_path / "nowhere", download=False)
    for expected in (f"{tmp_path}/nowhere/MNIST/raw", "INKLING_DOWNLOAD", "INKLING_DATA", FILES[0]):
        assert expected in str(caught.value)
    assert not (tmp_path / "nowhere").exists()


def test_a_download_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    with pytest.raises(DataError, match="could not be fetched"):
        mnist.training_set(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match="cannot be written"):
        mnist.training_set(tmp_path / "file" / "data")


@pytest.fixture
def copy(data_folder: Path, tmp_path: Path) -> Path:
    """The data folder with an empty file in place of the training images, which are large."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        if name == "train-images-idx3-ubyte":
            (raw / name).write_bytes(b"")
        else:
            shutil.copy(data_folder / "MNIST" / "raw" / name, raw / name)
            (raw / name).chmod(0o644)
    return tmp_path


def test_a_truncated_file_is_named(copy: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte cannot be read"):
        mnist.training_set(copy, download=False)
    path = copy / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte cannot be read"):
        mnist.test_set(copy, download=False)


def test_labels_other_than_digits_are_refused(copy: Path) -> None:
    path = copy / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    data = bytearray(path.read_bytes())
    data[100] = 17
    path.write_bytes(data)
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte holds labels other than 0 to 9"):
        mnist.test_set(copy, download=False)
