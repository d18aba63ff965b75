"""The database: SQLite under HOME, or whatever SQLAlchemy URL the operator gives.

It holds the feedback's labels and the history of retraining. Which version is active is a file (models/registry).
"""

import errno
import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from app.settings import Settings
from models.errors import InklingError
from models.fs import check_writable

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_SECONDS = 10
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a file can not grow."""

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


class DatabaseError(InklingError):
    """The database can not be used as it is set up."""

    problem = "database-unavailable"


class DatabaseUnavailable(InklingError):
    """The database does not answer now; it may later."""

    problem = "database-unavailable"


class StorageFull(InklingError):
    """No room is left, on the disk or in the feedback store."""

    problem = "storage-full"


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """Aware times in UTC, kept without a zone, so that every database groups them by the same day."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData()

feedback = sa.Table(
    "feedback",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),  # sha256 of the normalised tile
    sa.Column("label", sa.Integer, nullable=False),
    sa.Column("prediction", sa.Integer, nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("model", sa.String(20), nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("created_at", UtcDateTime, nullable=False, index=True),
    sa.Column("started_at", UtcDateTime),
    sa.Column("finished_at", UtcDateTime),
    sa.Column("epoch", sa.Integer),
    sa.Column("epochs", sa.Integer),
    sa.Column("progress", sa.Float, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("version", sa.String(20)),
    sa.Column("log", sa.Text, nullable=False),
    sa.Column("cancelling", sa.Boolean, nullable=False),
    sa.Column("idempotency_key", sa.String(255), unique=True),
)

lock = sa.Table(
    "lock",
    metadata,
    sa.Column("name", sa.String(20), primary_key=True),
    sa.Column("job", sa.String(32), sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("host", sa.String(255)),  # no host yet: the job is queued
    sa.Column("pid", sa.Integer),
    sa.Column("heartbeat", UtcDateTime),
)


class Database:
    """A pool of connections. Made per process: connections do not outlive a fork."""

    def __init__(self, settings: Settings) -> None:
        self._url = url_of(settings)
        wait = {"timeout": BUSY_SECONDS} if self._sqlite else {"connect_timeout": BUSY_SECONDS}
        try:
            self._engine = sa.create_engine(self._url, pool_pre_ping=True, connect_args=wait)
        except ModuleNotFoundError as error:
            raise DatabaseError(f"PostgreSQL needs {error.name}: pip install 'inkling[postgresql]'") from error
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    @property
    def _sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that changes nothing. Raises DatabaseUnavailable."""
        with _errors(), self._engine.connect() as connection:
            yield connection.execution_options(reads_only=True)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction, committed at the end, alone where it matters. Raises DatabaseUnavailable or StorageFull."""
        with _errors(), self._engine.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Creates the tables or brings them up to date. Raises DatabaseError or HomeError for what can not be used."""
        if self._sqlite:
            _check_folder(Path(str(self._url.database)).absolute().parent)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "newline")
        try:
            with self._alone(), self._engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except (SQLAlchemyError, OSError) as error:
            raise DatabaseError(f"the database {self} can not be used: {_reason(error)}") from error

    def close(self) -> None:
        self._engine.dispose()

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Several services may start on one database."""
        if not self._sqlite:
            with self._engine.begin() as connection:
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(7165742)"))
                yield
            return
        with Path(f"{self._url.database}-lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def url_of(settings: Settings) -> sa.URL:
    """Raises DatabaseError for what is no URL of a database that we know."""
    if settings.database_url is None:
        url = sa.URL.create("sqlite", database=str(settings.home.absolute() / "inkling.db"))
    else:
        try:
            url = sa.make_url(settings.database_url.get_secret_value())
            url.get_dialect()
        except (ArgumentError, NoSuchModuleError) as error:
            raise DatabaseError(f"INKLING_DATABASE_URL is no SQLAlchemy URL: {_reason(error)}") from None
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        raise DatabaseError(f"INKLING_DATABASE_URL names {url.drivername}; expected sqlite or postgresql")
    if not url.database or url.database == ":memory:":
        raise DatabaseError("INKLING_DATABASE_URL names a database in memory, which workers can not share")
    return url


def _check_folder(folder: Path) -> None:
    check_writable(folder)
    kind = file_system(folder)
    if kind.removeprefix("fuse.").startswith(NETWORK_FILE_SYSTEMS):
        raise DatabaseError(
            f"{folder} lies on a network file system ({kind}), where SQLite loses data; "
            "put INKLING_HOME on a local disk, or point INKLING_DATABASE_URL at PostgreSQL"
        )


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that holds the folder, as `nfs4`; empty where the system does not tell."""
    if not mounts.is_file():
        return ""
    folder, best, kind = folder.resolve(), Path("/"), ""
    for line in mounts.read_text().splitlines():
        fields, _, source = line.partition(" - ")
        point = Path(fields.split(" ")[4].replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= len(best.parts):  # later mounts hide earlier ones
            best, kind = point, source.split(" ")[0]
    return kind


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that starts to write half-way could find the database changed under it.
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError:
        raise
    except DBAPIError as error:
        if (
            getattr(error.orig, "sqlite_errorname", "") == "SQLITE_FULL"
            or getattr(error.orig, "sqlstate", "") == "53100"
        ):
            raise StorageFull("the disk that holds the database is full") from error
        log.error("the database does not answer: %s", _reason(error))
        raise DatabaseUnavailable(f"the database does not answer: {_reason(error)}") from error


def is_full(error: OSError) -> bool:
    return error.errno in FULL


def _reason(error: Exception) -> str:
    """One line, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return str(cause).strip().partition("\n")[0] or type(cause).__name__


def now() -> datetime:
    return datetime.now(UTC)
