"""Backs up HOME to one tar file while the service runs. Unpacked into an empty folder, it is a HOME again."""

import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from app.settings import Settings
from app.storage.database import is_sqlite, url_of
from models import fs
from models.errors import HomeError
from models.registry.reader import ModelRegistryReader


class BackupError(HomeError):
    pass


def write(settings: Settings, file: BinaryIO) -> int:
    """Writes the versions and the SQLite database, which holds the feedback, and returns the number of files.

    A PostgreSQL database, data sets and the files of a running job are left out. Raises BackupError.
    """
    registry = ModelRegistryReader(settings.home)
    if not registry.names():
        raise BackupError(f"{settings.home} holds no versions; INKLING_HOME should name the HOME of a service")
    try:
        with tarfile.open(fileobj=file, mode="w|") as tar:
            count = _add_database(tar, settings)
            with registry.locked():  # no version is pruned or activated meanwhile
                paths = [path for name in registry.names() for path in (registry.folder / name).iterdir()]
                for path in [registry.active_file, *sorted(paths)]:
                    tar.add(path, path.relative_to(settings.home))
        file.flush()
    except OSError as error:
        raise BackupError(f"the backup cannot be written: {error.strerror or error}") from error
    return count + 1 + len(paths)


def save(settings: Settings, path: Path) -> int:
    """Writes a backup to a new file, which appears whole and which only its owner can read. Raises BackupError."""
    if path.exists():
        raise BackupError(f"{path} exists already; a backup is written to a new file")
    try:
        with fs.replacing(path, mode=0o600) as file:
            return write(settings, file)
    except OSError as error:
        raise BackupError(f"{path} cannot be written: {error.strerror}") from error


def has_database(settings: Settings) -> bool:
    """Whether the backup includes the database: SQLite's is a file, PostgreSQL's is not."""
    return is_sqlite(url_of(settings))


def _add_database(tar: tarfile.TarFile, settings: Settings) -> int:
    path = Path(str(url_of(settings).database))
    if not has_database(settings) or not path.is_file():
        return 0
    with tempfile.TemporaryDirectory(prefix="inkling-backup-") as folder:
        copy = Path(folder) / "inkling.db"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # consistent, also while others write
        tar.add(copy, "inkling.db")
    return 1
