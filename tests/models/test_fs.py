import os
from pathlib import Path

import pytest

from models.errors import HomeError
from models.fs import check_writable


def test_a_folder_is_made_and_nothing_stays_in_it(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_one_that_can_not_be_written_is_named_with_the_uid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=rf"{tmp_path}/file/home can not be written by uid {os.getuid()}: "):
        check_writable(tmp_path / "file" / "home")


def test_a_name_that_is_too_long_is_found_out_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path, 200 * "a")
    with pytest.raises(HomeError, match="File name too long"):
        check_writable(tmp_path, 250 * "a")
    assert list(tmp_path.iterdir()) == []
