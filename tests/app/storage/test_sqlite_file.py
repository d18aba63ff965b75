"""A database file that is removed, replaced or moved while it is open."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.settings import Settings
from app.storage.database import Database, DatabaseUnavailable, StorageFull
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from app.storage.sqlite_file import file_system
from tests.support.disk import read_only
from tests.support.feedback import READ_AS_3, tile
from tests.support.service import KEY, WITH_KEY, check_problem, serving

MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - nfs4 filer:/srv rw,vers=4.2
31 30 8:2 / /srv/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/with\\040space rw - fuse.sshfs host: rw
"""


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(Settings(home=tmp_path / "home"))
    found.migrate()
    yield found
    found.close()


def remove(home: Path) -> None:
    (home / "inkling.db").unlink()


def remove_home(home: Path) -> None:
    shutil.rmtree(home)


def replace_by_a_folder(home: Path) -> None:
    remove(home)
    (home / "inkling.db").mkdir()


@pytest.mark.parametrize("damage", [remove, remove_home, replace_by_a_folder])
def test_nothing_is_accepted_into_a_file_that_is_gone_and_no_new_one_is_made(
    damage, database: Database, tmp_path: Path
) -> None:
    store, jobs = FeedbackStore(database, limit=10), Jobs(database, tmp_path / "home")
    store.add(tile(0), 1, READ_AS_3)
    damage(tmp_path / "home")
    for call in (lambda: store.add(tile(1), 1, READ_AS_3), lambda: jobs.submit({}), store.counts, jobs.list_newest):
        with pytest.raises(DatabaseUnavailable):
            call()
    assert not (tmp_path / "home" / "inkling.db").is_file()


def test_a_file_that_goes_during_the_transaction_fails_it(database: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="removed or replaced"), database.write() as connection:
        connection.exec_driver_sql("DELETE FROM feedback")
        remove(tmp_path / "home")


def test_a_restored_file_is_used_at_once_and_the_former_one_never_again(database: Database, tmp_path: Path) -> None:
    store, home = FeedbackStore(database, limit=10), tmp_path / "home"
    store.add(tile(0), 1, READ_AS_3)
    with closing(sqlite3.connect(home / "inkling.db")) as source, closing(sqlite3.connect(home / "new")) as copy:
        source.backup(copy)
    store.add(tile(1), 2, READ_AS_3)
    for name in ("inkling.db", "inkling.db-wal", "inkling.db-shm"):
        (home / name).unlink()
    (home / "new").rename(home / "inkling.db")
    assert store.counts().by_label == {"1": 1}
    store.add(tile(2), 3, READ_AS_3)
    with closing(sqlite3.connect(home / "inkling.db")) as found:
        assert found.execute("SELECT label FROM feedback ORDER BY label").fetchall() == [(1,), (3,)]


def test_a_disk_that_can_be_written_again_is_written_at_once(database: Database, tmp_path: Path) -> None:
    FeedbackStore(database, limit=10).add(tile(0), 1, READ_AS_3)
    later = Database(Settings(home=tmp_path / "home"))
    store = FeedbackStore(later, limit=10)
    with read_only(tmp_path / "home"):
        assert store.counts().total == 1
        for _ in range(2):
            with pytest.raises(StorageFull):
                store.add(tile(1), 1, READ_AS_3)
        assert store.counts().total == 1
    store.add(tile(1), 1, READ_AS_3)
    assert store.counts().total == 2
    later.close()


def test_a_path_that_an_url_would_quote_is_opened(tmp_path: Path) -> None:
    home = tmp_path / "50% off? #1 é"
    database = Database(Settings(home=home))
    database.migrate()
    assert FeedbackStore(database, limit=10).count() == 0
    database.close()
    assert (home / "inkling.db").stat().st_size > 0


def test_feedback_and_jobs_are_refused_while_the_file_is_gone(tmp_path: Path, seven, encode) -> None:
    with serving(Settings(home=tmp_path / "home", api_key=KEY)) as server:
        server.client.headers.update(WITH_KEY)
        feedback = {"files": {"file": encode(seven)}, "data": {"label": "7"}}
        remove(tmp_path / "home")
        for answer in (server.client.post("/feedback", **feedback), server.client.post("/retrain")):
            check_problem(answer, 503, "database-unavailable")
        assert server.client.get("/health/ready").status_code == 200
        assert "inkling_database_up 0" in server.client.get("/metrics").text
        again = Database(Settings(home=tmp_path / "home"))
        again.migrate()
        again.close()
        assert server.client.post("/feedback", **feedback).status_code == 201
        assert server.client.get("/feedback").json()["total"] == 1


def test_the_file_system_is_that_of_the_innermost_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    found = {place: file_system(Path(place), mounts) for place in ("/var", "/srv/home", "/srv/local/x", "/srvx")}
    assert found == {"/var": "ext4", "/srv/home": "nfs4", "/srv/local/x": "xfs", "/srvx": "ext4"}
    assert file_system(Path("/mnt/with space"), mounts) == "fuse.sshfs"
    assert file_system(tmp_path, tmp_path / "missing") == ""
