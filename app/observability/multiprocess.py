"""A folder in which the workers of one service show each other their figures, so that any of them can tell of all."""

import contextlib
import fcntl
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Kind = Literal["counts", "state"]

_HEAD = struct.Struct("=QQI")
"""How manieth it is, its length, and its checksum."""
_PREFIX = "inkling-board-"


class MultiprocessStore:
    """One worker's place on the board. What it has put there outlives it, and its successor has the same place.

    Two files take turns, so that one is whole whenever somebody reads, or the writer is killed. They are written over
    and not replaced: some file systems write a replaced file to the disk at once, which would hold up the event loop.
    """

    def __init__(self, folder: Path, place: int) -> None:
        self.folder = folder
        self.place = place

    def put(self, kind: Kind, data: bytes) -> None:
        """Raises OSError."""
        self.folder.mkdir(mode=0o700, exist_ok=True)  # what cleans up temporary files may have taken it away
        number = self._newest(kind)[0] + 1
        descriptor = os.open(self._path(kind, number % 2), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_HEAD.pack(number, len(data), zlib.crc32(data)) + data)

    def get(self, kind: Kind) -> bytes | None:
        return self._newest(kind)[1]

    def clear(self, kind: Kind) -> None:
        for turn in (0, 1):
            self._path(kind, turn).unlink(missing_ok=True)

    def everyone(self, kind: Kind) -> dict[int, bytes]:
        """What each worker has put there, by place."""
        places = {int(path.name.partition(".")[0]) for path in self.folder.glob(f"*.{kind}.*")}
        found = {place: MultiprocessStore(self.folder, place).get(kind) for place in sorted(places)}
        return {place: data for place, data in found.items() if data is not None}

    def _newest(self, kind: Kind) -> tuple[int, bytes | None]:
        return max((self._read(kind, turn) for turn in (0, 1)), key=lambda found: found[0])

    def _read(self, kind: Kind, turn: int) -> tuple[int, bytes | None]:
        """0 and None for what is not there, or not whole."""
        try:
            found = self._path(kind, turn).read_bytes()
        except FileNotFoundError:
            return 0, None
        if len(found) < _HEAD.size:
            return 0, None
        number, length, checksum = _HEAD.unpack_from(found)
        data = found[_HEAD.size : _HEAD.size + length]
        return (number, data) if len(data) == length and zlib.crc32(data) == checksum else (0, None)

    def _path(self, kind: Kind, turn: int) -> Path:
        return self.folder / f"{self.place}.{kind}.{turn}"


@contextlib.contextmanager
def new_folder(home: Path) -> Iterator[Path]:
    """An empty folder for as long as a service runs; under HOME where there is no other place for temporary files.

    It is locked by its service, and so what a killed one has left behind can be told, and goes.
    """
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError:
        parent = home
        home.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(left):
            shutil.rmtree(left)
    hidden = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent))
    with _locked(hidden):  # before anybody can find it
        folder = hidden.rename(parent / hidden.name.removeprefix("."))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Raises OSError where another process has locked it, or it is no folder of ours."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
