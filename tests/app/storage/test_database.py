import inspect
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from app.http.problems import Problem
from app.settings import Settings
from app.storage import database as database_module
from app.storage.database import Database, DatabaseError, DatabaseUnavailable, StorageFull, url_of
from app.storage.feedback import FeedbackStore
from app.storage.tables import jobs
from models.errors import HomeError, InklingError
from tests.support.disk import file_size_limit
from tests.support.feedback import READ_AS_3, tile


def test_times_are_read_aware_and_in_utc(database: Database) -> None:
    moment = datetime(2026, 11, 23, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    values = {"state": "queued", "parameters": {}, "progress": 0.0, "metrics": {}, "log": "", "cancelling": False}
    with database.write() as connection:
        connection.execute(sa.insert(jobs).values(id="a", created_at=moment, **values))
    with database.read() as connection:
        found = connection.execute(sa.select(jobs.c.created_at)).scalar_one()
        day = connection.execute(sa.select(sa.func.date(jobs.c.created_at))).scalar_one()
    assert (found, found.tzinfo, str(day)) == (moment, UTC, "2026-11-22")


def test_a_failed_transaction_changes_nothing(database: Database) -> None:
    values = {"state": "queued", "parameters": {}, "progress": 0.0, "metrics": {}, "log": "", "cancelling": False}
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(sa.insert(jobs).values(id="a", created_at=datetime.now(UTC), **values))
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(sa.select(jobs)).all() == []


def test_sqlite_lies_under_home_with_a_write_ahead_log(tmp_path: Path) -> None:
    database = Database(Settings(home=tmp_path / "home"))
    assert not (tmp_path / "home").exists()
    database.migrate()
    assert (tmp_path / "home" / "inkling.db").is_file()
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    database.close()


@pytest.mark.parametrize(
    "url, words",
    [
        ("nonsense", "not a SQLAlchemy URL"),
        ("oracle://scott:tiger@host/x", "expected sqlite or postgresql"),
        ("martian://host/x", "not a SQLAlchemy URL"),
        ("sqlite://", "in memory"),
    ],
)
def test_a_url_that_cannot_be_used_is_an_error_without_its_password(url: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words) as caught:
        url_of(Settings(database_url=url))
    assert "tiger" not in str(caught.value)


def test_a_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "inkling.db").write_text("I am no database, and long enough to be sure of it. " * 100)
    database = Database(Settings(home=tmp_path))
    with pytest.raises(DatabaseError, match=r"inkling.db cannot be used: file is not a database"):
        database.migrate()
    database.close()


def test_a_server_that_does_not_answer_is_an_error_without_its_password() -> None:
    database = Database(Settings(database_url="postgresql://inkling:secret@127.0.0.1:9/inkling"))
    with pytest.raises(DatabaseError, match="cannot be used") as caught:
        database.migrate()
    assert "secret" not in str(caught.value)


def test_a_home_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be written by uid"):
        Database(Settings(home=tmp_path / "file" / "home")).migrate()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_sqlite_refuses_a_network_file_system(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.storage.database.file_system", lambda _: kind)
    database = Database(Settings(home=tmp_path))
    with pytest.raises(DatabaseError, match=rf"network file system \({kind}\).*PostgreSQL"):
        database.migrate()
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    found = Database(Settings(home=tmp_path))
    found.migrate()
    yield found
    found.close()


def test_a_full_disk_is_storage_full_and_loses_nothing(sqlite: Database) -> None:
    store = FeedbackStore(sqlite, limit=10)
    store.add(tile(0), 1, READ_AS_3)
    with file_size_limit(500), pytest.raises(StorageFull):
        store.add(tile(1), 2, READ_AS_3)
    assert store.counts().by_label == {"1": 1}
    store.add(tile(1), 2, READ_AS_3)
    assert store.counts().total == 2


@pytest.mark.parametrize("pragma", ["query_only = ON", "max_page_count = 1"])
def test_a_database_that_cannot_grow_or_is_read_only_is_storage_full(pragma: str, sqlite: Database) -> None:
    with pytest.raises(StorageFull), sqlite.write() as connection:
        connection.exec_driver_sql(f"PRAGMA {pragma}")
        for number in range(10):
            connection.exec_driver_sql(f"CREATE TABLE t{number} (x)")


def test_an_exhausted_pool_is_an_unavailable_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 1)
    database = Database(Settings(database_url=database_url))
    database.migrate()
    with ExitStack() as stack:
        with pytest.raises(DatabaseUnavailable) as caught:
            for _ in range(100):
                stack.enter_context(database.read())
        assert isinstance(caught.value.__cause__, sa.exc.TimeoutError)
    with database.read() as connection:
        assert connection.execute(sa.select(jobs)).all() == []
    database.close()


def test_an_error_of_the_database_is_an_unavailable_database(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable), database.read() as connection:
        connection.exec_driver_sql("SELECT * FROM nowhere")


def errors_of_sqlalchemy() -> Iterator[Exception]:
    for kind in vars(sa.exc).values():
        if isinstance(kind, type) and issubclass(kind, sa.exc.SQLAlchemyError):
            needed = [one for one in inspect.signature(kind).parameters.values() if one.default is one.empty]
            named = [one.name for one in needed if one.kind is one.POSITIONAL_OR_KEYWORD]
            yield kind(**{name: RuntimeError("words") if name == "orig" else name for name in named})


def errors_of_drivers() -> Iterator[Exception]:
    for module in (sqlite3, psycopg, psycopg.errors):
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, module.Error):
                yield sa.exc.DBAPIError.instance("SELECT 1", (), kind("words"), module.Error)


UNWRITABLE = {psycopg.errors.DiskFull}
MADE = [*errors_of_sqlalchemy(), *errors_of_drivers()]


@pytest.fixture(scope="module")
def any_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    found = Database(Settings(home=tmp_path_factory.mktemp("home")))
    found.migrate()
    yield found
    found.close()


@pytest.mark.parametrize(
    "error", MADE, ids=lambda error: f"{type(error).__name__} {type(getattr(error, 'orig', error)).__name__}"
)
def test_every_error_of_sqlalchemy_and_its_drivers_is_a_refusal(error: Exception, any_database: Database) -> None:
    assert len(MADE) > 300
    with pytest.raises(InklingError) as caught, any_database.read():
        raise error
    unwritable = type(getattr(error, "orig", None)) in UNWRITABLE
    assert Problem.of(caught.value).response().status == (507 if unwritable else 503)


@pytest.mark.parametrize("name", ["SQLITE_FULL", "SQLITE_READONLY_DBMOVED", "SQLITE_IOERR_WRITE", "SQLITE_BUSY", "new"])
def test_errors_of_sqlite_are_told_apart_by_their_code(name: str, sqlite: Database) -> None:
    cause = sqlite3.OperationalError("words")
    cause.sqlite_errorname = name
    with pytest.raises(InklingError) as caught, sqlite.read():
        raise sa.exc.OperationalError("SELECT 1", (), cause)
    assert type(caught.value) is (DatabaseUnavailable if name in ("SQLITE_BUSY", "new") else StorageFull)


def test_a_failing_database_is_logged_once_however_many_requests_meet_it(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable), sqlite.read() as connection:
                connection.exec_driver_sql("SELECT * FROM nowhere")
            with sqlite.read() as connection:
                connection.exec_driver_sql("SELECT 1")

    fail()
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    monkeypatch.setattr(database_module, "LOG_SECONDS", -1)
    fail()
    assert len(caplog.records) == 4


def test_an_error_of_sqlalchemy_is_an_unavailable_database(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable), database.read() as connection:
        connection.execute(sa.select(jobs)).one()


def test_a_missing_postgresql_driver_names_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # importing it raises ModuleNotFoundError
    with pytest.raises(DatabaseError, match=r"pip install -e '\.\[postgresql\]'"):
        Database(Settings(database_url="postgresql://nowhere/inkling"))
