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


def test_each_worker_reads_what_every_worker_put_last(tmp_path: Path) -> None:
    stores = [MultiprocessStore(tmp_path, worker) for worker in (0, 1, 10)]
    assert stores[0].get("counts") is None
    for i, store in enumerate(stores):
        for data in (b"first, and longer", b"second", b"%d" % i):
            store.put("counts", data)
    stores[1].put("state", b"here")
    assert stores[2].get_all("counts") == {0: b"0", 1: b"1", 10: b"2"}
    assert stores[2].get_all("state") == {1: b"here"}
    stores[1].clear("state")
    stores[1].clear("state")
    assert stores[2].get_all("state") == {}
    assert stores[2].get_all("counts") == {0: b"0", 1: b"1", 10: b"2"}


def test_a_successor_reads_what_its_predecessor_put(tmp_path: Path) -> None:
    for data in (b"one", b"two", b"three"):
        store = MultiprocessStore(tmp_path, 0)
        store.put("counts", data)
        assert MultiprocessStore(tmp_path, 0).get("counts") == data


@pytest.mark.parametrize("kept", [0, 5, 22])
def test_a_worker_killed_while_writing_leaves_the_former_data(kept: int, tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path, 0)
    store.put("counts", b"before")
    store.put("counts", b"after!")
    newest = max(tmp_path.iterdir(), key=lambda path: path.read_bytes()[:8])
    os.truncate(newest, kept)
    assert store.get("counts") == b"before"
    store.put("counts", b"again")
    assert store.get("counts") == b"again"


def test_a_reader_finds_whole_data_while_another_writes(tmp_path: Path) -> None:
    store, done = MultiprocessStore(tmp_path, 0), threading.Event()
    pieces = [bytes([65 + i]) * (1 + 7000 * i) for i in range(5)]

    def write() -> None:
        for i in range(500):
            store.put("counts", pieces[i % len(pieces)])
        done.set()

    thread = threading.Thread(target=write)
    store.put("counts", pieces[0])
    thread.start()
    seen = set()
    while not done.is_set():
        seen.add(MultiprocessStore(tmp_path, 0).get("counts"))
    thread.join()
    # Two writes during one read are possible here alone, where there is no half a second between them.
    assert seen - {None} <= set(pieces)
    assert len(seen) > 1


def test_the_folder_is_removed_with_the_service_and_falls_back_to_home(tmp_path, monkeypatch) -> None:
    with new_folder(tmp_path / "home") as folder:
        assert [path.name for path in folder.iterdir()] == [".lock"]
        assert folder.stat().st_mode & 0o077 == 0
        MultiprocessStore(folder, 0).put("state", b"x")
    assert not folder.exists()

    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    with new_folder(tmp_path / "home") as folder:
        assert folder.parent == tmp_path / "home"


def test_the_next_start_removes_the_folder_of_a_killed_service(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = """
import app.observability.multiprocess, pathlib, sys
with app.observability.multiprocess.new_folder(pathlib.Path()) as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""
    services = [python(script, tmp_path) for _ in range(2)]
    killed, living = [Path(service.stdout.readline().strip()) for service in services]
    (tmp_path / "inkling-metrics-link").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "inkling-metrics-file").touch()
    try:
        services[0].kill()
        services[0].wait()
        assert killed.is_dir()
        with new_folder(tmp_path) as folder:
            assert not killed.exists()
            assert living.is_dir()
            assert folder.parent == tmp_path
        assert {path.name for path in tmp_path.iterdir()} == {
            living.name,
            "inkling-metrics-link",
            "inkling-metrics-file",
        }
    finally:
        for service in services:
            service.kill()
            service.communicate()


def test_a_full_disk_raises_and_keeps_the_former_data(tmp_path: Path) -> None:
    script = """
import app.observability.multiprocess, pathlib, resource
store = app.observability.multiprocess.MultiprocessStore(pathlib.Path(), 0)
store.put("counts", b"before")
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))  # a longer write is cut short
store.put("counts", bytes(200_000))
"""
    result = python(script, tmp_path)
    _, error = result.communicate(timeout=60)
    assert error.endswith("OSError: [Errno 27] File too large\n")
    assert MultiprocessStore(tmp_path, 0).get("counts") == b"before"


def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    store = MultiprocessStore(tmp_path / "store", 0)
    store.put("counts", b"1")
    shutil.rmtree(store.folder)
    store.put("counts", b"2")
    assert store.get("counts") == b"2"
