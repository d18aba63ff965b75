"""A HOME from before migration 0002, with a PNG for each feedback row, is opened by this version."""

import multiprocessing
import os
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from app.settings import Settings
from app.storage import feedback_files
from app.storage.database import Database, DatabaseError
from app.storage.feedback import FeedbackStore
from app.storage.tables import REVISION, feedback, metadata
from tests.support.feedback import READ_AS_3, old_picture, tile, tile_id, write_old_feedback


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", database_url=database_url)


def migrate(settings: Settings) -> None:
    database = Database(settings)
    try:
        database.migrate()
    finally:
        database.close()


def stored(settings: Settings) -> dict[str, tuple[int, bytes]]:
    """Labels and tiles by id."""
    database = Database(settings)
    with database.read() as connection:
        rows = connection.execute(sa.select(feedback.c.id, feedback.c.label, feedback.c.tile)).all()
    database.close()
    return {row.id: (row.label, row.tile) for row in rows}


def expected(*numbers: int) -> dict[str, tuple[int, bytes]]:
    return {tile_id(number): (number % 10, tile(number).tobytes()) for number in numbers}


def schema(database: Database) -> dict[str, object]:
    """What SQLAlchemy sees of the tables, but the order of the columns, and the default that 0002 leaves on SQLite."""
    with database.read() as connection:
        inspector = sa.inspect(connection)
        kinds = ("columns", "pk_constraint", "foreign_keys", "indexes", "unique_constraints", "check_constraints")
        return {
            f"{table} {kind}": sorted(
                repr({**one, "default": None}) for one in ([found] if isinstance(found, dict) else found)
            )
            for table in inspector.get_table_names()
            for kind in kinds
            for found in [getattr(inspector, f"get_{kind}")(table)]
        }


def test_the_migrations_make_the_tables_of_a_new_database(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    made = schema(database)
    with database.write() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        metadata.drop_all(connection)
        connection.execute(sa.text("DELETE FROM alembic_version"))
    database.migrate()
    assert schema(database) == made
    with database.read() as connection:
        assert MigrationContext.configure(connection).get_current_heads() == (REVISION,)


def test_an_old_home_gets_the_same_tables(settings: Settings) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    write_old_feedback(settings, 2)
    migrate(settings)
    database = Database(settings)
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert {index["name"] for index in sa.inspect(connection).get_indexes("feedback")} == {"ix_feedback_created_at"}
    database.close()


def test_several_services_may_migrate_at_once_and_again(settings: Settings) -> None:
    write_old_feedback(settings, 20)
    failures: list[Exception] = []

    def start() -> None:
        try:
            migrate(settings)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    migrate(settings)
    assert failures == []
    assert stored(settings) == expected(*range(20))


@pytest.mark.processes  # more than two seconds
def test_pictures_become_tiles_of_their_rows(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    count = 1200  # more than a batch
    write_old_feedback(settings, count)
    with caplog.at_level("INFO"):
        migrate(settings)
    assert stored(settings) == expected(*range(count))
    assert not (settings.home / "feedback").exists()
    progress = [record.args for record in caplog.records if record.name == "app.storage.migrations"]
    assert progress == [("1,000", "1,200"), ("1,200", "1,200")]
    database = Database(settings)
    store = FeedbackStore(database, limit=count)
    same, former = store.add(tile(7), 7, READ_AS_3)
    assert (same, former) == (same, same)
    assert store.delete(same.id)
    database.close()


def remove_picture(path: Path) -> None:
    path.unlink()


def cut_picture(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def empty_picture(path: Path) -> None:
    path.write_bytes(b"")


def swap_picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(tile(99)).save(path)


def enlarge_picture(path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((280, 280), np.uint8)).save(path)


@pytest.mark.parametrize("damage", [remove_picture, cut_picture, empty_picture, swap_picture, enlarge_picture])
def test_a_row_without_its_picture_is_deleted_with_a_warning_that_names_it(
    damage: Callable[[Path], None], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    write_old_feedback(settings, 3)
    damage(old_picture(settings.home, 1))
    migrate(settings)
    assert stored(settings) == expected(0, 2)
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert tile_id(1) in warning.getMessage()
    assert str(old_picture(settings.home, 1)) in warning.getMessage()


def test_a_picture_that_cannot_be_read_now_loses_nothing(settings: Settings) -> None:
    write_old_feedback(settings, 3)
    picture, aside = old_picture(settings.home, 1), settings.home / "aside.png"
    picture.rename(aside)
    picture.mkdir()  # reading a folder fails for root, too
    with pytest.raises(DatabaseError):
        migrate(settings)
    picture.rmdir()
    aside.rename(picture)
    migrate(settings)
    assert stored(settings) == expected(0, 1, 2)


def test_a_home_without_its_feedback_folder_is_refused_before_rows_are_deleted(settings: Settings) -> None:
    write_old_feedback(settings, 2)
    (settings.home / "feedback").rename(settings.home / "elsewhere")
    with pytest.raises(DatabaseError, match="INKLING_HOME"):
        migrate(settings)
    (settings.home / "elsewhere").rename(settings.home / "feedback")
    migrate(settings)
    assert stored(settings) == expected(0, 1)


def test_other_files_under_feedback_stay(settings: Settings) -> None:
    write_old_feedback(settings, 1)
    (settings.home / "feedback" / "notes.txt").write_text("mine")
    migrate(settings)
    assert [path.name for path in (settings.home / "feedback").rglob("*")] == ["notes.txt"]


def migrate_until_killed(home: Path, url: str, function: str, calls: int) -> None:
    original, left = getattr(feedback_files, function), [calls]

    def count_down(*arguments: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(feedback_files, function, count_down)
    migrate(Settings(home=home, database_url=url))


@pytest.mark.processes
@pytest.mark.parametrize("function, calls", [("read_tile", 5), ("remove", 1)], ids=["before commit", "after commit"])
def test_a_migration_that_is_killed_loses_nothing_and_the_next_start_ends_it(
    function: str, calls: int, settings: Settings, database_url: str
) -> None:
    write_old_feedback(settings, 10)
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=migrate_until_killed, args=(settings.home, database_url, function, calls))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert all(old_picture(settings.home, number).is_file() for number in range(10))
    migrate(settings)
    assert stored(settings) == expected(*range(10))
    assert not (settings.home / "feedback").exists()


def test_a_backup_of_an_old_home_is_restored(tmp_path: Path) -> None:
    """The tar of the former `inkling backup`: the database first, then the pictures."""
    old = Settings(home=tmp_path / "old")
    write_old_feedback(old, 5)
    with tarfile.open(tmp_path / "backup.tar", "w") as tar:
        tar.add(old.home / "inkling.db", "inkling.db")
        for path in (old.home / "feedback").glob("*/*.png"):
            tar.add(path, path.relative_to(old.home))
    shutil.rmtree(old.home)
    restored = Settings(home=tmp_path / "restored")
    with tarfile.open(tmp_path / "backup.tar") as tar:
        tar.extractall(restored.home, filter="data")
    migrate(restored)
    assert stored(restored) == expected(*range(5))
