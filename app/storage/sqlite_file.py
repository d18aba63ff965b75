"""The file of a SQLite database: made once, opened only where it exists, and recognised if somebody replaces it."""

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError

NETWORK_FILE_SYSTEMS = (
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "glusterfs",
    "lustre",
    "ncpfs",
    "nfs",
    "smb3",
    "smbfs",
    "sshfs",
)

_IDENTITY, _WRITABLE = "identity", "writable"


class SQLiteFile:
    """SQLite keeps a file open and would store rows in it after the file was removed or replaced by another one.

    Each connection remembers the file that it has open. One whose file is not at the path any more is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def listen(self, engine: sa.Engine) -> None:
        """Sets the engine's connections up."""
        sa.event.listen(engine, "do_connect", self._connect)
        sa.event.listen(engine, "checkout", self._check_out)
        sa.event.listen(engine, "begin", _begin)

    def make(self) -> None:
        """Makes an empty file, which is a database without tables, unless there is one. Raises OSError."""
        if not self.path.exists():
            self.path.touch(mode=0o644)

    def holds(self, connection: sa.Connection) -> bool:
        """Whether the connection's file is still the one at the path."""
        return self._is_current(connection.info)

    def _connect(self, dialect: sa.Dialect, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        record.info[_IDENTITY] = self._identity()  # before it is opened: a file that replaces it then never passes
        record.info[_WRITABLE] = self._is_writable()
        arguments[0] = f"file:{quote(str(self.path))}?mode=rw"  # never makes a file
        connection = dialect.connect(*arguments, **{**options, "uri": True})
        try:
            connection.isolation_level = None  # SQLAlchemy begins the transactions, not the driver
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _check_out(self, _: object, record: Any, __: object) -> None:
        # SQLite opens a file on a read-only disk for reading, and would not write to it when the disk is mended.
        mended = not record.info.get(_WRITABLE) and self._is_writable()
        if mended or not self._is_current(record.info):
            raise DisconnectionError("the database file has changed")  # the pool opens it again

    def _is_current(self, info: dict[Any, Any]) -> bool:
        identity = self._identity()
        return identity is not None and info.get(_IDENTITY) == identity

    def _is_writable(self) -> bool:
        return os.access(self.path, os.W_OK)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def _begin(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails if another one has written in between.
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds the folder, such as nfs4; empty on systems without mountinfo."""
    if not mounts.is_file():
        return ""
    folder, best, kind = folder.resolve(), Path("/"), ""
    for line in mounts.read_text().splitlines():
        fields, _, source = line.partition(" - ")
        point = Path(fields.split(" ")[4].replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= len(best.parts):  # a later mount hides an earlier one
            best, kind = point, source.split(" ")[0]
    return kind
