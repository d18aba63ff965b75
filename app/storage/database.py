"""The connection to the database: SQLite under HOME, or the PostgreSQL server that INKLING_DATABASE_URL names.

The database holds the feedback and the history of retraining. The active version is a file (models/registry).
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from app.settings import Settings
from app.storage import feedback_files
from app.storage.sqlite_file import NETWORK_FILE_SYSTEMS, SQLiteFile, file_system
from app.storage.tables import REVISION, alembic_version, metadata
from models import fs
from models.errors import InklingError

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 5
"""How long to wait for a connection, for SQLite's lock, or for a statement's end on PostgreSQL."""
ATTEMPTS = 10
LOG_SECONDS = 10
"""How often a failure is logged at most, however many requests meet it."""

log = logging.getLogger(__name__)

T = TypeVar("T")


class DatabaseError(InklingError):
    """The database cannot be used as it is configured."""

    problem = "database-unavailable"


class DatabaseUnavailable(InklingError):
    """The database does not answer now; it may later."""

    problem = "database-unavailable"


class Conflict(DatabaseUnavailable):
    """The transaction conflicts with another one; `retry_conflicts` repeats it."""


class StorageFull(InklingError):
    """The disk or the feedback store is full, or the disk is read-only."""

    problem = "storage-full"


class Database:
    """A pool of connections, for one process: connections do not survive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._home = settings.home
        self._url = url_of(settings)
        self._sqlite = SQLiteFile(Path(str(self._url.database)).absolute()) if is_sqlite(self._url) else None
        self._logged = -math.inf
        wait = {"timeout": BUSY_SECONDS} if self._sqlite else _postgresql_limits()
        try:
            self._engine = sa.create_engine(self._url, pool_pre_ping=True, pool_timeout=BUSY_SECONDS, connect_args=wait)
        except ModuleNotFoundError as error:
            raise DatabaseError(
                f"PostgreSQL needs {error.name}; run pip install -e '.[postgresql]' in the checkout of Inkling"
            ) from error
        if self._sqlite:
            self._sqlite.listen(self._engine)
        else:
            sa.event.listen(self._engine, "connect", _limit_statements)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only reads. Raises DatabaseUnavailable or StorageFull."""
        with self._errors(), self._engine.connect() as connection:
            yield connection.execution_options(reads_only=True)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end of the block; on SQLite it excludes other writers.

        Raises DatabaseUnavailable, StorageFull, or Conflict; DatabaseUnavailable also when SQLite's file was removed or
        replaced meanwhile, so that what was written is lost.
        """
        with self._errors(), self._engine.connect() as connection:
            with connection.begin():
                yield connection
            if self._sqlite and not self._sqlite.holds(connection):
                raise DatabaseUnavailable(f"{self._sqlite.path} was removed or replaced while it was written")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns every error of SQLAlchemy into one of ours."""
        try:
            yield
        except IntegrityError as error:
            raise Conflict(f"the transaction conflicts with another one: {_reason(error)}") from error
        except SQLAlchemyError as error:  # TimeoutError of an exhausted pool is not a DBAPIError
            reason = _reason(error)
            if _is_unwritable(error):
                raise StorageFull(f"the disk that holds the database is full or read-only: {reason}") from error
            if time.monotonic() - self._logged > LOG_SECONDS:
                self._logged = time.monotonic()
                programming_error = not isinstance(error, DBAPIError | sa.exc.TimeoutError)
                log.error("the database does not answer: %s", reason, exc_info=programming_error)
            raise DatabaseUnavailable(f"the database does not answer: {reason}") from error

    def migrate(self) -> None:
        """Creates the tables or brings them up to date. Raises DatabaseError or HomeError.

        Several services may call this at once. If a process is killed meanwhile, the next one repeats the work.
        """
        if self._sqlite:
            _check_folder(self._sqlite.path.parent)
        try:
            with self._migration_lock():
                if self._sqlite:
                    self._sqlite.make()
                with self._engine.begin() as connection:
                    if not self._sqlite:
                        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # a migration may take longer
                    if not _has_current_tables(connection):
                        _upgrade(connection, self._home)
                feedback_files.remove(self._home)  # migration 0002 has committed, now or at an earlier start
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"the database {self} cannot be used: {_reason(error)}") from error

    def close(self) -> None:
        self._engine.dispose()

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    def _migration_lock(self) -> AbstractContextManager[None]:
        return fs.locked(Path(f"{self._sqlite.path}-lock")) if self._sqlite else self._advisory_lock()

    @contextmanager
    def _advisory_lock(self) -> Iterator[None]:
        with self._engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")  # another service may migrate for long
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7165742)")
            yield


def _has_current_tables(connection: sa.Connection) -> bool:
    """Whether the tables are those of REVISION. An empty database gets them here, without Alembic's 9 MB."""
    names = sa.inspect(connection).get_table_names()
    if not names:
        metadata.create_all(connection)
        alembic_version.create(connection)
        connection.execute(alembic_version.insert().values(version_num=REVISION))
        return True
    stored = sa.select(alembic_version.c.version_num)
    return alembic_version.name in names and connection.scalars(stored).all() == [REVISION]


def _upgrade(connection: sa.Connection, home: Path) -> None:
    from alembic import command
    from alembic.config import Config

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes.update(connection=connection, home=home)
    command.upgrade(config, "head")


def retry_conflicts(transaction: Callable[[], T]) -> T:
    """Repeats a transaction that conflicts with another one; the next attempt sees the rows of the other one.

    Raises Conflict after ATTEMPTS of them.
    """
    for _ in range(1, ATTEMPTS):
        with suppress(Conflict):
            return transaction()
    return transaction()


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
    if not is_sqlite(url):
        raise DatabaseError(f"INKLING_DATABASE_URL names {url.drivername}; expected sqlite or postgresql")
    if not url.database or url.database == ":memory:":
        raise DatabaseError("INKLING_DATABASE_URL names a database in memory, which workers cannot share")
    return url


def is_sqlite(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _check_folder(folder: Path) -> None:
    fs.check_writable(folder)
    kind = file_system(folder)
    if kind.removeprefix("fuse.").startswith(NETWORK_FILE_SYSTEMS):
        raise DatabaseError(
            f"{folder} lies on a network file system ({kind}), where SQLite loses data; "
            "put INKLING_HOME on a local disk, or point INKLING_DATABASE_URL at PostgreSQL"
        )


def _postgresql_limits() -> dict[str, int]:
    """For libpq: the wait for a connection, and for a server that was there and is gone, such as a host without power.

    https://www.postgresql.org/docs/current/libpq-connect.html
    """
    return {
        "connect_timeout": BUSY_SECONDS,
        "tcp_user_timeout": 1000 * BUSY_SECONDS,
        "keepalives_idle": BUSY_SECONDS,
        "keepalives_interval": 1,
        "keepalives_count": BUSY_SECONDS,
    }


def _limit_statements(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{BUSY_SECONDS}s'")
    connection.commit()


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
