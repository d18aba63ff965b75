import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.settings import Settings
from app.storage.database import Database, DatabaseError, file_system, jobs, metadata, url_of
from models.errors import HomeError

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - nfs4 filer:/srv rw,vers=4.2
31 30 8:2 / /srv/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/with\\040space rw - fuse.sshfs host: rw
"""


def test_the_migrations_make_the_tables_that_the_code_uses(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_several_may_migrate_at_once_and_again(database_url: str) -> None:
    databases = [Database(Settings(database_url=database_url)) for _ in range(4)]
    failures: list[Exception] = []

    def migrate(database: Database) -> None:
        try:
            database.migrate()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    databases[0].migrate()
    assert failures == []
    for database in databases:
        database.close()


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    moment = datetime(2026, 11, 23, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    values = {"state": "queued", "parameters": {}, "progress": 0.0, "metrics": {}, "log": "", "cancelling": False}
    with database.write() as connection:
        connection.execute(sa.insert(jobs).values(id="a", created_at=moment, **values))
    with database.read() as connection:
        found = connection.execute(sa.select(jobs.c.created_at)).scalar_one()
        day = connection.execute(sa.select(sa.func.date(jobs.c.created_at))).scalar_one()
    assert (found, found.tzinfo, str(day)) == (moment, UTC, "2026-11-22")


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
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
        ("nonsense", "no SQLAlchemy URL"),
        ("oracle://scott:tiger@host/x", "expected sqlite or postgresql"),
        ("martian://host/x", "no SQLAlchemy URL"),
        ("sqlite://", "in memory"),
    ],
)
def test_a_url_that_can_not_be_used_is_said(url: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words) as caught:
        url_of(Settings(database_url=url))
    assert "tiger" not in str(caught.value)


def test_a_database_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "inkling.db").write_text("I am no database, and long enough to be sure of it. " * 100)
    database = Database(Settings(home=tmp_path))
    with pytest.raises(DatabaseError, match=r"inkling.db can not be used: file is not a database"):
        database.migrate()
    database.close()


def test_a_server_that_does_not_answer_is_said_without_its_password() -> None:
    database = Database(Settings(database_url="postgresql://inkling:secret@127.0.0.1:9/inkling"))
    with pytest.raises(DatabaseError, match="can not be used") as caught:
        database.migrate()
    assert "secret" not in str(caught.value)


def test_a_home_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match="cannot be written by uid"):
        Database(Settings(home=tmp_path / "file" / "home")).migrate()


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    found = {place: file_system(Path(place), mounts) for place in ("/var", "/srv/home", "/srv/local/x", "/srvx")}
    assert found == {"/var": "ext4", "/srv/home": "nfs4", "/srv/local/x": "xfs", "/srvx": "ext4"}
    assert file_system(Path("/mnt/with space"), mounts) == "fuse.sshfs"
    assert file_system(tmp_path, tmp_path / "missing") == ""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_sqlite_refuses_a_network_file_system(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.storage.database.file_system", lambda _: kind)
    database = Database(Settings(home=tmp_path))
    with pytest.raises(DatabaseError, match=rf"network file system \({kind}\).*PostgreSQL"):
        database.migrate()
    database.close()
