"""A backup of HOME as one tar file, made while the service runs; unpacked into an empty folder, it is a HOME again."""

import io
import os
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from app.cli import terminal
from app.settings import Settings
from app.storage.database import url_of
from models.errors import HomeError
from models.registry.reader import ModelRegistryReader


class BackupError(HomeError):
    pass


def write(settings: Settings, file: BinaryIO, quiet: bool = True) -> int:
    """Writes versions, corrections and database, and returns how many files; a database that is no SQLite is left out.

    Data sets and what a running job has written so far are not in it. Raises BackupError.
    quiet: no bar for the pictures, of which there may be many.
    """
    saved = ModelRegistryReader(settings.home)
    if not saved.names():
        raise BackupError(f"{settings.home} holds no versions; expected INKLING_HOME to name the HOME of a service")
    try:
        with tarfile.open(fileobj=file, mode="w|") as tar:
            # First the rows, then the pictures: each row was written after its picture, so that none is without one.
            database = _add_database(tar, settings)
            pictures = _add_pictures(tar, settings.home, quiet)
            with saved.locked():  # no version goes, and no other one becomes active
                paths = [path for name in saved.names() for path in (saved.folder / name).iterdir()]
                versions = sum(_add(tar, path, settings.home) for path in [saved.folder / "active", *sorted(paths)])
        file.flush()
    except OSError as error:
        raise BackupError(f"the backup can not be written: {error.strerror or error}") from error
    return database + pictures + versions


def save(settings: Settings, path: Path, quiet: bool = True) -> int:
    """As `write`, to a new file that nobody else may read and that appears whole. Raises BackupError."""
    if path.exists():
        raise BackupError(f"{path} is there already; a backup is written to a new file")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
    except OSError as error:
        raise BackupError(f"{path} can not be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            count = write(settings, file, quiet)
            os.fsync(descriptor)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


def has_database(settings: Settings) -> bool:
    """Whether the database is a file, and so a part of the backup."""
    return url_of(settings).get_backend_name() == "sqlite"


def _add_database(tar: tarfile.TarFile, settings: Settings) -> int:
    path = Path(str(url_of(settings).database))
    if not has_database(settings) or not path.is_file():
        return 0
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(":memory:")) as copy:
        source.backup(copy)  # one moment of it, whatever is written meanwhile
        data = copy.serialize()
    entry = tarfile.TarInfo("inkling.db")
    entry.size, entry.mtime, entry.mode = len(data), int(path.stat().st_mtime), 0o644
    tar.addfile(entry, io.BytesIO(data))
    return 1


def _add_pictures(tar: tarfile.TarFile, home: Path, quiet: bool) -> int:
    paths = list((home / "feedback").glob("*/[!.]*.png"))
    count = 0
    with terminal.Bar("backing up", len(paths), "pictures", quiet) as bar:
        for path in paths:
            count += _add(tar, path, home)
            bar.advance(1)
    return count


def _add(tar: tarfile.TarFile, path: Path, home: Path) -> bool:
    """False for a correction that was deleted meanwhile."""
    try:
        tar.add(path, path.relative_to(home))
    except FileNotFoundError:
        return False
    return True
