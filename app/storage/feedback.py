"""The feedback that people sent: a row for each image, with its label and its tile.

A tile is the image as the network sees it, 28 x 28. Training needs nothing else, so the file itself is not stored,
which may say where a photograph was taken.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.lib import format as npy
from PIL import Image

from app.storage.database import Database, StorageFull, now, retry_conflicts
from app.storage.tables import feedback
from models import fs
from models.inference.predictor import Prediction
from models.preprocessing.decode import Pixels

BATCH = 1000
"""Rows that an export holds in memory at a time."""

_ID = re.compile("[0-9a-f]{64}")

RECORD = np.dtype([("id", "S64"), ("label", np.int64), ("tile", np.uint8, (28, 28))])

_ITEM: list[Any] = [feedback.c.id, feedback.c.label, feedback.c.prediction, feedback.c.model, feedback.c.created_at]
_EXPORTED: list[Any] = [feedback.c.id, feedback.c.label, feedback.c.tile]


@dataclass(frozen=True)
class FeedbackItem:
    """id: sha256 of the tile's 784 bytes; prediction: the digit that `model` predicted."""

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
    """The feedback in one database. Several processes may use it at once."""

    def __init__(self, database: Database, limit: int) -> None:
        self.limit = limit
        self._database = database

    def add(self, tile: Pixels, label: int, prediction: Prediction) -> tuple[FeedbackItem, FeedbackItem | None]:
        """Stores a tile uint8 [28, 28] with its label; returns the stored item and the former one of the same tile.

        A tile is stored once: a new label replaces the former one. Raises StorageFull or DatabaseUnavailable; then
        nothing has changed.
        """
        name = hashlib.sha256(tile.tobytes()).hexdigest()
        values = {
            "label": label,
            "prediction": prediction.digit,
            "confidence": prediction.confidence,
            "model": prediction.model,
        }
        return retry_conflicts(lambda: self._add(name, tile, values))

    def _add(self, name: str, tile: Pixels, values: dict[str, Any]) -> tuple[FeedbackItem, FeedbackItem | None]:
        own = feedback.c.id == name
        with self._database.write() as connection:
            # The lock keeps another transaction from deleting the row before the update.
            row = connection.execute(sa.select(*_ITEM).where(own).with_for_update()).first()
            former = None if row is None else _item(row)
            if former is not None and former.label == values["label"]:
                return former, former
            if former is not None:
                change: sa.Update | sa.Insert = sa.update(feedback).where(own).values(**values)
            else:
                self._check_limit(connection)
                fresh = {"id": name, "created_at": now(), "tile": tile.tobytes()}
                change = sa.insert(feedback).values(**fresh, **values)
            return _item(connection.execute(change.returning(*_ITEM)).one()), former

    def _check_limit(self, connection: sa.Connection) -> None:
        count = _count(connection)
        if count >= self.limit:
            raise StorageFull(
                f"the feedback store holds {count:,} images; the limit is INKLING_MAX_FEEDBACK={self.limit:,}. "
                "DELETE /feedback/{id} makes room",
                limit=self.limit,
            )

    def delete(self, name: str) -> bool:
        """Returns False if no feedback has this id."""
        if not _ID.fullmatch(name):  # PostgreSQL fails on some other texts, such as a NUL
            return False
        with self._database.write() as connection:
            return connection.execute(sa.delete(feedback).where(feedback.c.id == name)).rowcount == 1

    def count(self) -> int:
        with self._database.read() as connection:
            return _count(connection)

    def counts(self) -> FeedbackCounts:
        """Days are days in UTC. Raises DatabaseUnavailable."""
        with self._database.read() as connection:
            labels = connection.execute(_count_by(feedback.c.label)).all()
            days = connection.execute(_count_by(sa.func.date(feedback.c.created_at))).all()
        by_label = {str(label): count for label, count in labels}
        return FeedbackCounts(sum(by_label.values()), by_label, {str(day): count for day, count in days})

    def export_images(self, folder: Path, advance: Callable[[int], None] = lambda _: None) -> int:
        """Writes FOLDER/LABEL/ID.png, as torchvision's ImageFolder reads it, and returns how many images.

        The folder is new or empty; `advance` gets the number of images written since its last call. Raises HomeError.
        """
        count = 0
        with fs.home_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for rows in self._batches():
                for row in rows:
                    path = folder / str(row.label) / f"{row.id}.png"
                    path.parent.mkdir(exist_ok=True)
                    Image.fromarray(_pixels([row])[0]).save(path, optimize=True)
                count += len(rows)
                advance(len(rows))
        return count

    def export_array(self, path: Path) -> int:
        """Writes a new .npy file of RECORDs, in the order of their ids, that only the owner can read; returns how many.

        Raises HomeError.
        """
        count = 0
        with fs.home_errors(path), os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            _write_header(file, count)
            for rows in self._batches():
                records = np.empty(len(rows), RECORD)
                records["id"] = [row.id for row in rows]
                records["label"] = [row.label for row in rows]
                records["tile"] = _pixels(rows)
                file.write(records.tobytes())
                count += len(rows)
            file.seek(0)
            _write_header(file, count)  # NumPy leaves room in a header for a larger count
        return count

    def _batches(self) -> Iterator[Sequence[sa.Row[Any]]]:
        """All ids, labels and tiles, in the order of their ids; each batch is a transaction of its own."""
        last = ""
        while True:
            with self._database.read() as connection:
                query = sa.select(*_EXPORTED).where(feedback.c.id > last).order_by(feedback.c.id).limit(BATCH)
                rows = connection.execute(query).all()
            if not rows:
                return
            yield rows
            last = rows[-1].id


def _item(row: sa.Row[Any]) -> FeedbackItem:
    return FeedbackItem(**row._mapping)


def _count(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(feedback)).scalar_one()


def _count_by(column: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return sa.select(column, sa.func.count()).group_by(column).order_by(column)


def _pixels(rows: Sequence[sa.Row[Any]]) -> Pixels:
    """The tiles as uint8 [N, 28, 28]."""
    return np.frombuffer(b"".join(row.tile for row in rows), np.uint8).reshape(-1, 28, 28)


def _write_header(file: Any, count: int) -> None:
    npy.write_array_header_1_0(file, {"descr": npy.dtype_to_descr(RECORD), "fortran_order": False, "shape": (count,)})
