"""The connection to the database: SQLite under HOME, or the PostgreSQL server that INKLING_DATABASE_URL names.

The database holds the feedback and the history of retraining. The active version is a file (models/registry).
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from app.settings import Settings
from app.storage import feedback_files
from models import fs
from models.errors import InklingError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 10
"""How long to wait for a connection, or for SQLite's lock, before the database counts as unavailable."""
ATTEMPTS = 10

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

log = logging.getLogger(__name__)

T = TypeVar("T")


class DatabaseError(InklingError):
    """The database cannot be used as it is configured."""

    problem = "database-unavailable"


class DatabaseUnavailable(InklingError):
    """The database does not answer now; it may later."""

    problem = "database-unavailable"


class StorageFull(InklingError):
    """The disk or the feedback store is full, or the disk is read-only."""

    problem = "storage-full"


class Database:
    """A pool of connections, for one process: connections do not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self._url = url_of(settings)
        wait = {"timeout": BUSY_SECONDS} if self._sqlite else {"connect_timeout": BUSY_SECONDS}
        try:
            self._engine = sa.create_engine(self._url, pool_pre_ping=True, pool_timeout=BUSY_SECONDS, connect_args=wait)
        except ModuleNotFoundError as error:
            raise DatabaseError(
                f"PostgreSQL needs {error.name}; run pip install -e '.[postgresql]' in the checkout of Inkling"
            ) from error
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    @property
    def _sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @property
    def _file(self) -> Path:
        return Path(str(self._url.database)).absolute()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads. Raises DatabaseUnavailable."""
        with _errors(), self._engine.connect() as connection:
            yield connection.execution_options(reads_only=True)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end of the block; on SQLite it excludes other writers.

        Raises DatabaseUnavailable, StorageFull, or IntegrityError for a conflict with another transaction.
        """
        with _errors(), self._engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Creates the tables or brings them up to date. Raises DatabaseError or HomeError.

        Several services may call this at once. If a process is killed meanwhile, the next one repeats the work.
        """
        if self._sqlite:
            _check_folder(self._file.parent)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        try:
            with self._migration_lock():
                with self._engine.begin() as connection:
                    config.attributes.update(connection=connection, home=self._home)
                    command.upgrade(config, "head")
                feedback_files.remove(self._home)  # migration 0002 has committed, now or at an earlier start
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"the database {self} cannot be used: {_reason(error)}") from error

    def close(self) -> None:
        self._engine.dispose()

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def _migration_lock(self) -> AbstractContextManager[None]:
        return fs.locked(Path(f"{self._file}-lock")) if self._sqlite else self._advisory_lock()

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        with self._engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7165742)"))
            yield


def retry_conflicts(transaction: Callable[[], T]) -> T:
    """Repeats a transaction that conflicts with another one; the next attempt sees the rows of the other one.

    A conflict is an IntegrityError. Raises DatabaseUnavailable after ATTEMPTS of them.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return transaction()
        except IntegrityError as error:
            if attempt == ATTEMPTS:
                raise DatabaseUnavailable(f"{ATTEMPTS} attempts to write met conflicts: {_reason(error)}") from error
    raise AssertionError  # the loop returns or raises


def url_of(settings: Settings) -> sa.URL:
    """Raises DatabaseError unless the URL names a SQLite file or a PostgreSQL server."""
    if settings.database_url is None:
        url = sa.URL.create("sqlite", database=str(settings.home.absolute() / "inkling.db"))
    else:
        try:
            url = sa.make_url(settings.database_url.get_secret_value())
            url.get_dialect()
        except (ArgumentError, NoSuchModuleError) as error:
            raise DatabaseError(f"INKLING_DATABASE_URL is not a SQLAlchemy URL: {_reason(error)}") from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise DatabaseError(f"INKLING_DATABASE_URL names {url.drivername}; expected sqlite or postgresql")
    if not url.database or url.database == ":memory:":
        raise DatabaseError("INKLING_DATABASE_URL names a database in memory, which workers cannot share")
    return url


def _check_folder(folder: Path) -> None:
    fs.check_writable(folder)
    kind = file_system(folder)
    if kind.removeprefix("fuse.").startswith(NETWORK_FILE_SYSTEMS):
        raise DatabaseError(
            f"{folder} lies on a network file system ({kind}), where SQLite loses data; "
            "put INKLING_HOME on a local disk, or point INKLING_DATABASE_URL at PostgreSQL"
        )


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


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins the transactions, not the driver
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails if another one has written in between.
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:  # TimeoutError of an exhausted pool is not a DBAPIError
        reason = _reason(error)
        if _is_unwritable(error):
            raise StorageFull(f"the disk that holds the database is full or read-only: {reason}") from error
        programming_error = not isinstance(error, DBAPIError | sa.exc.TimeoutError)
        log.error("the database does not answer: %s", reason, exc_info=programming_error)
        raise DatabaseUnavailable(f"the database does not answer: {reason}") from error


def _is_unwritable(error: SQLAlchemyError) -> bool:
    cause = getattr(error, "orig", None)
    sqlite = getattr(cause, "sqlite_errorname", "")
    full = sqlite in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE")
    return full or sqlite.startswith("SQLITE_READONLY") or getattr(cause, "sqlstate", "") == "53100"


def _reason(error: Exception) -> str:
    """The first line of the driver's message, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def now() -> datetime:
    return datetime.now(UTC)
