"""Feedback to store, and feedback as services before migration 0002 stored it."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from PIL import Image

from app.settings import Settings
from app.storage.database import MIGRATIONS, url_of
from app.storage.feedback import RECORD
from models.inference.predictor import Prediction

READ_AS_3 = Prediction(3, 0.9, (0.0,) * 10, "digit", "v1")
READ_AS_5 = Prediction(5, 0.6, (0.0,) * 10, "digit", "v2")


def tile(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (28, 28), dtype=np.uint8)


def tile_id(number: int) -> str:
    return hashlib.sha256(tile(number).tobytes()).hexdigest()


def write_feedback(path: Path, count: int) -> None:
    """The array that the job runner exports for a job: tiles labelled 0 to 9 in turn, in the order of their ids."""
    numbers = sorted(range(count), key=tile_id)
    records = [(tile_id(number), number % 10, tile(number)) for number in numbers]
    np.save(path, np.array(records, RECORD))


def old_picture(home: Path, number: int) -> Path:
    return home / "feedback" / tile_id(number)[:2] / f"{tile_id(number)}.png"


def write_old_feedback(settings: Settings, count: int) -> None:
    """A database of revision 0001 with this many rows, labelled 0 to 9 in turn, and a PNG under HOME for each."""
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url_of(settings))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    columns = "id, label, prediction, confidence, model, created_at"
    row = "(:id, :label, 3, 0.9, 'v1', :created_at)"
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number in range(count):
            values = {"id": tile_id(number), "label": number % 10, "created_at": datetime(2026, 11, 1, tzinfo=UTC)}
            connection.execute(sa.text(f"INSERT INTO feedback ({columns}) VALUES {row}"), values)
            path = old_picture(settings.home, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tile(number)).save(path, optimize=True)
    engine.dispose()
