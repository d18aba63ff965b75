"""A folder in which the workers of one service show each other their figures, so that any of them can tell of all."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["counts", "state"]


@dataclass(frozen=True)
class Board:
    """One worker's place on the board. What it has put there outlives it, and its successor has the same place."""

    folder: Path
    place: int

    def put(self, kind: Kind, data: bytes) -> None:
        """Whoever reads finds all of it, or all of what was there before. Raises OSError."""
        path = self._path(kind)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(path)

    def get(self, kind: Kind) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            return self._path(kind).read_bytes()
        return None

    def clear(self, kind: Kind) -> None:
        self._path(kind).unlink(missing_ok=True)

    def everyone(self, kind: Kind) -> dict[int, bytes]:
        """What each worker has put there, by place."""
        places = sorted(int(path.stem) for path in self.folder.glob(f"*.{kind}"))
        found = {place: Board(self.folder, place).get(kind) for place in places}
        return {place: data for place, data in found.items() if data is not None}

    def _path(self, kind: Kind) -> Path:
        return self.folder / f"{self.place}.{kind}"


@contextlib.contextmanager
def new_folder(home: Path) -> Iterator[Path]:
    """An empty folder for as long as a service runs; under HOME where there is no other place for temporary files."""
    try:
        tempfile.gettempdir()
        parent = None
    except FileNotFoundError:
        parent = home
    with tempfile.TemporaryDirectory(prefix="inkling-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)
