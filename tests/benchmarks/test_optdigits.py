import gzip
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import optdigits
from models.preprocessing.decode import decode

LINE = ",".join(str(count) for count in np.pad(np.full((8, 2), 16), ((0, 0), (3, 3))).ravel())


def wrote(monkeypatch: pytest.MonkeyPatch, file: Path, folder: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["optdigits", str(file), str(folder)])
    optdigits.main()


@pytest.mark.parametrize("write", [Path.write_bytes, lambda file, data: file.write_bytes(gzip.compress(data))])
def test_each_line_becomes_a_picture_in_the_folder_of_its_digit(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "digits", f"{LINE},1\n{LINE.replace('16', '16.0')},7\n".encode())
    wrote(monkeypatch, tmp_path / "digits", tmp_path / "out")
    assert capsys.readouterr().out == f"wrote 2 pictures into {tmp_path / 'out'}\n"
    one, other = (tmp_path / "out" / name for name in ("1/0001.png", "7/0002.png"))
    assert one.read_bytes() == other.read_bytes()
    picture = decode(one.read_bytes()).pixels
    assert picture.shape == (96, 96)
    inked = [np.flatnonzero(picture.max(axis=axis) > 127) for axis in (1, 0)]
    assert [int(np.ptp(places)) + 1 for places in inked] == [64, 16]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{LINE},1\n{LINE},12\n", "line 2: expected 64 whole numbers from 0 to 16 and a digit"),
        (f"{LINE}\n", "line 1: expected 64 whole numbers"),
        (f"{LINE.replace('16', '17')},1\n", "line 1: expected 64 whole numbers"),
        (f"{LINE.replace('16', '15.5')},1\n", "line 1: expected 64 whole numbers"),
        (f"{LINE},inf\n", "line 1: expected 64 whole numbers"),
        ("a,b\n", "line 1: expected 64 whole numbers"),
        ("", "is empty"),
    ],
)
def test_a_broken_file_is_one_line_and_writes_nothing(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "digits").write_text(text)
    with pytest.raises(SystemExit) as ended:
        wrote(monkeypatch, tmp_path / "digits", tmp_path / "out")
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_anything_in_it_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "digits").write_text(f"{LINE},1\n")
    with pytest.raises(SystemExit):
        wrote(monkeypatch, tmp_path / "digits", tmp_path)
    assert f"{tmp_path} is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]
