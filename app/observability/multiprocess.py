"""A folder in which the workers of one service share their metrics, so that each can report those of all."""

import contextlib
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from models import fs

Content = Literal["counts", "state"]

_HEADER = struct.Struct("=QQI")
"""Generation, length of the data in bytes, and its CRC-32."""
_PREFIX = "inkling-metrics-"
_LOCK = ".lock"


class MultiprocessStore:
    """The files of one worker in the shared folder. The process that replaces the worker continues them.

    Writes alternate between two files, so that one is always complete, even if the writer is killed. They overwrite the
    file in place: some file systems flush a file that replaces another one, which would block the event loop.
    """

    def __init__(self, folder: Path, worker: int) -> None:
        self.folder = folder
        self.worker = worker

    def put(self, content: Content, data: bytes) -> None:
        """Stores the data. After an OSError, the data before it is still there."""
        self.folder.mkdir(mode=0o700, exist_ok=True)  # a cleaner of temporary files may have removed it
        generation = self._newest(content)[0] + 1
        descriptor = os.open(self._path(content, generation % 2), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_HEADER.pack(generation, len(data), zlib.crc32(data)) + data)

    def get(self, content: Content) -> bytes | None:
        """The data that was put last; None if there is none."""
        return self._newest(content)[1]

    def clear(self, content: Content) -> None:
        for turn in (0, 1):
            with contextlib.suppress(OSError):  # the next process overwrites it
                self._path(content, turn).unlink(missing_ok=True)

    def get_all(self, content: Content) -> dict[int, bytes]:
        """The data that each worker put last, by the worker's number."""
        workers = sorted({int(path.name.partition(".")[0]) for path in self.folder.glob(f"*.{content}.*")})
        found = {worker: MultiprocessStore(self.folder, worker).get(content) for worker in workers}
        return {worker: data for worker, data in found.items() if data is not None}

    def _newest(self, content: Content) -> tuple[int, bytes | None]:
        return max((self._read(content, turn) for turn in (0, 1)), key=lambda found: found[0])

    def _read(self, content: Content, turn: int) -> tuple[int, bytes | None]:
        """Generation and data; 0 and None for a file that is missing or incomplete."""
        try:
            found = self._path(content, turn).read_bytes()
        except FileNotFoundError:
            return 0, None
        if len(found) < _HEADER.size:
            return 0, None
        generation, length, checksum = _HEADER.unpack_from(found)
        data = found[_HEADER.size : _HEADER.size + length]
        return (generation, data) if len(data) == length and zlib.crc32(data) == checksum else (0, None)

    def _path(self, content: Content, turn: int) -> Path:
        return self.folder / f"{self.worker}.{content}.{turn}"


@contextlib.contextmanager
def new_folder(home: Path) -> Iterator[Path]:
    """An empty folder for the lifetime of a service, in the temporary directory, or under HOME if there is none.

    The service holds a lock in it. A folder whose lock is free was left by a service that was killed, and is removed.
    """
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError:
        parent = home
        home.mkdir(parents=True, exist_ok=True)
    for folder in parent.glob(f"{_PREFIX}*"):
        _remove_if_abandoned(folder)
    hidden = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
    with fs.locked(hidden / _LOCK):  # locked before the rename lets other services find it
        folder = hidden.rename(parent / hidden.name.removeprefix("."))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_abandoned(folder: Path) -> None:
    if not (folder / _LOCK).is_file() or folder.is_symlink():
        return
    with contextlib.suppress(OSError, Timeout), FileLock(folder / _LOCK, timeout=0, preserve_lock_file=True):
        shutil.rmtree(folder)
