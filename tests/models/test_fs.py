import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from models.errors import HomeError
from models.fs import check_writable, is_held, locked, read_regular, replacing, write_atomically
from tests.support.disk import file_size_limit
from tests.support.files import NOT_FILES


def test_check_writable_makes_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_with_the_uid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=rf"{tmp_path}/file/home cannot be written by uid {os.getuid()}: "):
        check_writable(tmp_path / "file" / "home")


def test_a_name_that_is_too_long_is_found_before_the_work(tmp_path: Path) -> None:
    check_writable(tmp_path, 200 * "a")
    with pytest.raises(HomeError, match="File name too long"):
        check_writable(tmp_path, 250 * "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 64])
def test_a_regular_file_is_read_whole_also_through_a_link(size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(range(size)))
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file", 64) == read_regular(tmp_path / "link", 64) == bytes(range(size))


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(65))
    with pytest.raises(OSError, match="more than 64 bytes"):
        read_regular(tmp_path / "file", 64)


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_not_a_regular_file_is_refused_at_once_and_left_closed(kind: str, tmp_path: Path) -> None:
    NOT_FILES[kind](tmp_path / "file")
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(OSError, match="/file") as caught:
        read_regular(tmp_path / "file", 1_000_000)
    assert caught.value.strerror
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_write_atomically_replaces_the_file_and_sets_its_mode(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    write_atomically(path, b"new", mode)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == mode
    assert list(tmp_path.iterdir()) == [path]


def test_a_relative_path_is_written_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically(Path("file"), b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with file_size_limit(2), pytest.raises(HomeError, match=f"{path} cannot be written: File too large"):
        write_atomically(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="no/file cannot be written: No such file"):
        write_atomically(tmp_path / "no" / "file", b"new")


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_owner_can_read_the_file_while_it_is_written(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as file:
        assert os.fstat(file.fileno()).st_mode & 0o077 == 0


def hold_lock(path: Path, pipe: Connection) -> None:
    with locked(path):
        pipe.send("held")
        pipe.recv()


def hold_in_process(path: Path) -> tuple[multiprocessing.Process, Connection]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=hold_lock, args=(path, theirs))
    process.start()
    theirs.close()
    assert ours.recv() == "held"
    return process, ours


@pytest.mark.processes
@pytest.mark.parametrize("killed", [False, True])
def test_a_lock_passes_on_when_its_process_releases_it_or_is_killed(killed: bool, tmp_path: Path) -> None:
    process, pipe = hold_in_process(tmp_path / "lock")
    entered = threading.Event()

    def enter() -> None:
        with locked(tmp_path / "lock"):
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    try:
        assert not entered.wait(0.5)
    finally:
        process.kill() if killed else pipe.send("go on")
        process.join()
        thread.join(30)
    assert entered.is_set()


def test_two_threads_never_meet_inside_a_lock(tmp_path: Path) -> None:
    meeting, outcomes = threading.Barrier(2), []

    def meet() -> None:
        with locked(tmp_path / "lock"):
            try:
                meeting.wait(0.2)
                outcomes.append("met")
            except threading.BrokenBarrierError:
                outcomes.append("alone")

    threads = [threading.Thread(target=meet) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert outcomes == ["alone", "alone"]


def test_a_lock_file_that_was_left_behind_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("12345")
    with locked(tmp_path / "lock"):
        pass
    with locked(tmp_path / "lock"):
        pass


def test_a_lock_is_held_while_somebody_has_it_and_asking_makes_no_file(tmp_path: Path) -> None:
    assert is_held(tmp_path / "lock") is None
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "lock"):
        assert is_held(tmp_path / "lock") is True
    assert is_held(tmp_path / "lock") is False


def test_a_caller_need_not_wait_for_a_lock(tmp_path: Path) -> None:
    def refuse() -> None:
        raise RuntimeError("held")

    with locked(tmp_path / "lock"):
        with pytest.raises(RuntimeError, match="held"), locked(tmp_path / "lock", before_waiting=refuse):
            pass
        assert is_held(tmp_path / "lock")


def test_a_lock_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="file/lock cannot be written: "), locked(tmp_path / "file" / "lock"):
        pass
