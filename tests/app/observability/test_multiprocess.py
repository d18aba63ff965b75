import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from app.observability.multiprocess import MultiprocessStore, new_folder
from tests.support.environment import ROOT


def python(script: str, folder: Path) -> subprocess.Popen[str]:
    """Runs it there, and temporary files lie there, too."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_everyone_sees_what_each_has_put_last(tmp_path: Path) -> None:
    boards = [MultiprocessStore(tmp_path, place) for place in (0, 1, 10)]
    assert boards[0].get("counts") is None
    for i, board in enumerate(boards):
        for data in (b"first, and longer", b"second", b"%d" % i):
            board.put("counts", data)
    boards[1].put("state", b"here")
    assert boards[2].everyone("counts") == {0: b"0", 1: b"1", 10: b"2"}
    assert boards[2].everyone("state") == {1: b"here"}
    boards[1].clear("state")
    boards[1].clear("state")
    assert boards[2].everyone("state") == {}
    assert boards[2].everyone("counts") == {0: b"0", 1: b"1", 10: b"2"}


def test_a_successor_goes_on_in_the_same_place(tmp_path: Path) -> None:
    for data in (b"one", b"two", b"three"):
        board = MultiprocessStore(tmp_path, 0)
        board.put("counts", data)
        assert MultiprocessStore(tmp_path, 0).get("counts") == data


@pytest.mark.parametrize("kept", [0, 5, 22])
def test_one_that_was_killed_while_it_wrote_leaves_what_was_there_before(kept: int, tmp_path: Path) -> None:
    board = MultiprocessStore(tmp_path, 0)
    board.put("counts", b"before")
    board.put("counts", b"after!")
    newest = max(tmp_path.iterdir(), key=lambda path: path.read_bytes()[:8])
    os.truncate(newest, kept)
    assert board.get("counts") == b"before"
    board.put("counts", b"again")
    assert board.get("counts") == b"again"


def test_who_reads_while_another_writes_finds_something_whole(tmp_path: Path) -> None:
    board, done = MultiprocessStore(tmp_path, 0), threading.Event()
    pieces = [bytes([65 + i]) * (1 + 7000 * i) for i in range(5)]

    def write() -> None:
        for i in range(500):
            board.put("counts", pieces[i % len(pieces)])
        done.set()

    thread = threading.Thread(target=write)
    board.put("counts", pieces[0])
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(MultiprocessStore(tmp_path, 0).get("counts"))
    thread.join()
    # Two writes during one read are possible here alone, where there is no half a second between them.
    assert seen - {None} <= set(pieces)
    assert len(seen) > 1


def test_the_folder_goes_with_the_service_and_lies_under_home_where_there_is_no_other(tmp_path, monkeypatch) -> None:
    with new_folder(tmp_path / "home") as folder:
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o077 == 0
        MultiprocessStore(folder, 0).put("state", b"x")
    assert not folder.exists()

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with new_folder(tmp_path / "home") as folder:
        assert folder.parent == tmp_path / "home"


def test_what_a_killed_service_left_goes_with_the_next_start(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = """
import app.observability.multiprocess, pathlib, sys
with app.observability.multiprocess.new_folder(pathlib.Path()) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
    services = [python(script, tmp_path) for _ in range(2)]
    killed, living = [Path(service.stdout.readline().strip()) for service in services]
    (tmp_path / "inkling-board-link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "inkling-board-file").touch()
    try:
        services[0].kill()
        services[0].wait()
        assert killed.is_dir()
        with new_folder(tmp_path) as folder:
            assert not killed.exists()
            assert living.is_dir()
            assert folder.parent == tmp_path
        assert {path.name for path in tmp_path.iterdir()} == {living.name, "inkling-board-link", "inkling-board-file"}
    finally:
        for service in services:
            service.kill()
            service.communicate()


def test_what_does_not_fit_on_the_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    script = """
import app.observability.multiprocess, pathlib, resource
board = app.observability.multiprocess.MultiprocessStore(pathlib.Path(), 0)
board.put("counts", b"before")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # a longer write is cut short
board.put("counts", bytes(200_000))
"""
    result = python(script, tmp_path)
    _, error = result.communicate(timeout=60)
    assert error.endswith("OSError: [Errno 27] File too large\n")
    assert MultiprocessStore(tmp_path, 0).get("counts") == b"before"


def test_a_folder_that_was_taken_away_comes_back(tmp_path: Path) -> None:
    board = MultiprocessStore(tmp_path / "board", 0)
    board.put("counts", b"1")
    shutil.rmtree(board.folder)
    board.put("counts", b"2")
    assert board.get("counts") == b"2"
