import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from models.errors import DataError
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from training.data import mnist
from training.evaluation import datasets

LINE = "7.0000 " + " ".join(["-1.000"] * 100 + ["1.000"] * 40 + ["0.5"] * 16 + ["-1"] * 100)


def usps(folder: Path, *lines: str) -> Path:
    path = folder / "zip.train.gz"
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def test_usps_lines_become_pictures(tmp_path: Path) -> None:
    found = datasets.load(usps(tmp_path, LINE, LINE.replace("7.0", "3.0") + " "))
    assert [sample.label for sample in found.samples] == [7, 3]
    pixels = decode(found.samples[0].read()).pixels.ravel()
    assert pixels.shape == (256,)
    assert pixels[[0, 99, 100, 139, 140, 155, 156]].tolist() == [0, 0, 255, 255, 191, 191, 0]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (LINE.replace("7.0000", "11.0"), "the label is 11 instead of 0 to 9"),
        (LINE.replace("7.0000", "-1"), "the label is -1 "),
        (LINE.replace("7.0000", "2.5"), "the label is 2.5 "),
        (LINE.replace("7.0000", "nan"), "the label is nan "),
        (LINE.replace("7.0000", "seven"), "expected a label and 256 numbers"),
        ("", "expected a label and 256 numbers"),
        (LINE + " 1.0", "found 257"),
        (LINE.replace("0.5", "1.5"), "is not within -1 to 1"),
        (LINE.replace("0.5", "nan"), "is not within -1 to 1"),
    ],
)
def test_the_error_of_a_bad_line_names_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    path = usps(tmp_path, LINE, line, LINE)
    with pytest.raises(DataError) as caught:
        datasets.load(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [b"7 1 1 1", gzip.compress(LINE.encode() * 50)[:-30], gzip.compress(b"\xff\xfe\x00"), b"", gzip.compress(b"")],
    ids=[
        "not gzip",
        "truncated",
        "not text",
        "no bytes",
        "empty",
    ],  # bytes would differ, as gzip writes the time
)
def test_the_error_of_a_file_that_is_not_gzip_text_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "zip.test.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"zip\.test\.gz") as caught:
        datasets.load(path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_folders_of_pictures(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    for label, name in [(0, "a.png"), (4, "b.JPG"), (4, "c.webp"), (9, "notes.txt"), (9, ".hidden.png")]:
        folder = tmp_path / str(label)
        folder.mkdir(exist_ok=True)
        kind = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}.get(name.rpartition(".")[2].lower(), "PNG")
        (folder / name).write_bytes(encode(np.full((5, 4 + label), 9, np.uint8), kind))
    (tmp_path / ".git").mkdir()
    found = datasets.load(tmp_path).samples
    assert [(sample.label, Path(sample.name).name) for sample in found] == [(0, "a.png"), (4, "b.JPG"), (4, "c.webp")]
    assert [decode(sample.read()).pixels.shape for sample in found] == [(5, 4), (5, 8), (5, 8)]


def test_a_folder_of_another_name_is_not_a_label(tmp_path: Path) -> None:
    for name in ("1", "10"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"10 is not a label"):
        datasets.load(tmp_path)


def test_a_missing_or_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        datasets.load(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds neither"):
        datasets.load(tmp_path)


def test_the_error_of_a_deleted_file_names_it(tmp_path: Path, encode: Callable[..., bytes]) -> None:
    (tmp_path / "5").mkdir()
    path = tmp_path / "5" / "five.png"
    path.write_bytes(encode(np.zeros((3, 3), np.uint8)))
    (sample,) = datasets.load(tmp_path).samples
    path.unlink()
    with pytest.raises(DataError, match=r"five\.png cannot be read: No such file"):
        sample.read()


def test_mnist_survives_png_and_normalisation(test_digits: mnist.Digits) -> None:
    chosen = test_digits[mnist.torch.arange(0, 10_000, 500)]
    for sample, tile, label in zip(
        datasets.of_digits("MNIST test", chosen).samples, chosen.images, chosen.labels, strict=True
    ):
        assert sample.label == label
        assert (normalise(decode(sample.read())).pixels == tile.numpy()).all()


def test_a_folder_that_holds_mnist_is_its_test_set(data_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    with pytest.raises(DataError, match=r"MNIST/raw/t10k-images-idx3-ubyte is missing"):
        datasets.load(tmp_path)
    for path in (data_folder / "MNIST" / "raw").glob("t10k-*-ubyte"):
        (raw / path.name).symlink_to(path)
    found = datasets.load(tmp_path)
    assert (found.name, len(found.samples), found.samples[0].label) == ("MNIST test", 10_000, 7)
