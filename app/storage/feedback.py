"""The corrections that people sent: each a tile in a file under HOME and a row in the database.

What is kept is the picture as the network sees it, 28x28, which is all that training needs: whatever else was in the
file, such as where a photograph was taken, is gone.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from PIL import Image

from app.storage.database import Database, StorageFull, feedback, is_full, now
from models.preprocessing.decode import Pixels

if TYPE_CHECKING:
    from models.inference.predictor import Prediction  # it imports torch


@dataclass(frozen=True)
class FeedbackItem:
    """id: sha256 of the tile's 784 bytes; prediction: the digit that `model` read."""

    id: str
    label: int
    prediction: int
    model: str
    created_at: datetime


@dataclass(frozen=True)
class FeedbackCounts:
    total: int
    by_label: dict[str, int]
    by_day: dict[str, int]


class FeedbackStore:
    """The store under one HOME. Several processes may use it at a time."""

    def __init__(self, home: Path, database: Database, limit: int) -> None:
        self.folder = home / "feedback"
        self.limit = limit
        self._database = database

    def add(self, tile: Pixels, label: int, prediction: "Prediction") -> tuple[FeedbackItem, FeedbackItem | None]:
        """Stores the tile uint8 [28, 28] under its label, and returns what is stored now and what was before.

        The same tile again keeps its one sample; a new label replaces the old one. Raises StorageFull and then loses
        nothing, or DatabaseUnavailable.
        """
        name = hashlib.sha256(tile.tobytes()).hexdigest()
        while True:
            try:
                return self._record(name, tile, label, prediction)
            except sa.exc.IntegrityError:  # another worker was told of the same tile at the same time
                continue

    def _record(
        self, name: str, tile: Pixels, label: int, prediction: "Prediction"
    ) -> tuple[FeedbackItem, FeedbackItem | None]:
        values = {
            "label": label,
            "prediction": prediction.digit,
            "confidence": prediction.confidence,
            "model": prediction.model,
        }
        with self._database.write() as connection:
            known = connection.execute(sa.select(feedback).where(feedback.c.id == name)).first()
            if known is None:
                count = _count(connection)
                if count >= self.limit:
                    raise StorageFull(
                        f"the feedback store holds {count:,} corrections; the limit is "
                        f"INKLING_MAX_FEEDBACK={self.limit:,}. DELETE /feedback/{{id}} makes room",
                        limit=self.limit,
                    )
                self._write(name, tile)  # before the row is there for others to see
                connection.execute(sa.insert(feedback).values(id=name, created_at=now(), **values))
            elif known.label != label:
                connection.execute(sa.update(feedback).where(feedback.c.id == name).values(**values))
            stored = connection.execute(sa.select(feedback).where(feedback.c.id == name)).one()
        return _correction(stored), None if known is None else _correction(known)

    def delete(self, name: str) -> bool:
        """Whether there was one of that name."""
        with self._database.write() as connection:
            found = connection.execute(sa.delete(feedback).where(feedback.c.id == name)).rowcount == 1
            if found:
                self._path(name).unlink(missing_ok=True)
        return found

    def count(self) -> int:
        with self._database.read() as connection:
            return _count(connection)

    def counts(self) -> FeedbackCounts:
        """Days are those of UTC. Raises DatabaseUnavailable."""
        day = sa.func.date(feedback.c.created_at)
        with self._database.read() as connection:
            labels = connection.execute(_count_by(feedback.c.label)).all()
            days = connection.execute(_count_by(day)).all()
        by_label = {str(label): count for label, count in labels}
        return FeedbackCounts(sum(by_label.values()), by_label, {str(found): count for found, count in days})

    def export(self, folder: Path, advance: Callable[[int], None] = lambda _: None) -> int:
        """Writes a tree as torchvision's ImageFolder reads it, FOLDER/LABEL/ID.png, and returns how many it wrote.

        The folder is new or empty; `advance` is called with 1 after each. Raises StorageFull.
        """
        count = 0
        with self._database.read() as connection:
            rows = connection.execute(sa.select(feedback.c.id, feedback.c.label).order_by(feedback.c.id)).all()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for label in {row.label for row in rows}:
                (folder / str(label)).mkdir(exist_ok=True)
            for row in rows:
                count += _copy(self._path(row.id), folder / str(row.label) / f"{row.id}.png")
                advance(1)
        except OSError as error:
            raise _storage_error(error, folder) from error
        return count

    def _write(self, name: str, tile: Pixels) -> None:
        path = self._path(name)
        buffer = io.BytesIO()
        Image.fromarray(tile).save(buffer, "PNG", optimize=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(buffer.getvalue())
                    file.flush()
                    os.fsync(descriptor)
                Path(temporary).replace(path)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise _storage_error(error, path.parent) from error

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.png"  # a folder of 100,000 files is slow to list


def _correction(row: sa.Row[Any]) -> FeedbackItem:
    return FeedbackItem(row.id, row.label, row.prediction, row.model, row.created_at)


def _count(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(feedback)).scalar_one()


def _count_by(column: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(column, sa.func.count()).group_by(column).order_by(column)


def _copy(source: Path, target: Path) -> bool:
    """False for a correction that was deleted meanwhile."""
    try:
        target.write_bytes(source.read_bytes())
    except FileNotFoundError:
        return False
    return True


def _storage_error(error: OSError, folder: Path) -> StorageFull | OSError:
    return StorageFull(f"the disk that holds {folder} is full") if is_full(error) else error
