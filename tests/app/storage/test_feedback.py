import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from PIL import Image

from app.storage import feedback as feedback_module
from app.storage.database import Database, DatabaseUnavailable, StorageFull
from app.storage.feedback import FeedbackStore
from app.storage.tables import feedback
from models.errors import HomeError
from tests.support.conflicts import make_inserts_conflict
from tests.support.disk import file_size_limit
from tests.support.feedback import READ_AS_3, READ_AS_5, tile, tile_id


@pytest.fixture
def store(database: Database) -> FeedbackStore:
    return FeedbackStore(database, limit=3)


def test_a_tile_is_stored_once_and_a_new_label_replaces_the_former(store: FeedbackStore) -> None:
    first, former = store.add(tile(0), 8, READ_AS_3)
    assert (first.id, first.label, first.prediction, first.model, former) == (tile_id(0), 8, 3, "v1", None)
    again, former = store.add(tile(0), 8, READ_AS_5)
    assert (again, former) == (first, first)
    other, former = store.add(tile(0), 9, READ_AS_5)
    assert (other.id, other.label, other.prediction, other.model) == (first.id, 9, 5, "v2")
    assert former == first
    assert other.created_at == first.created_at
    assert (store.counts().total, store.counts().by_label) == (1, {"9": 1})


def test_feedback_is_counted_by_label_and_day(store: FeedbackStore) -> None:
    for number, label in enumerate([4, 4, 0]):
        store.add(tile(number), label, READ_AS_3)
    counts = store.counts()
    day = store.add(tile(0), 4, READ_AS_3)[0].created_at.date()
    assert (counts.total, counts.by_label, counts.by_day) == (3, {"0": 1, "4": 2}, {str(day): 3})


def test_a_full_store_refuses_new_tiles_and_still_takes_new_labels(store: FeedbackStore) -> None:
    for number in range(3):
        store.add(tile(number), number, READ_AS_3)
    with pytest.raises(StorageFull) as caught:
        store.add(tile(3), 3, READ_AS_3)
    assert caught.value.members == {"limit": 3}
    assert store.counts().by_label == {"0": 1, "1": 1, "2": 1}
    changed, _ = store.add(tile(0), 7, READ_AS_3)
    assert store.delete(changed.id)
    store.add(tile(3), 3, READ_AS_3)
    assert store.counts().by_label == {"1": 1, "2": 1, "3": 1}


def test_feedback_is_deleted_once(store: FeedbackStore) -> None:
    stored, _ = store.add(tile(0), 1, READ_AS_3)
    assert store.delete(stored.id)
    assert not store.delete(stored.id)
    assert store.count() == 0


@pytest.mark.parametrize("name", ["", "\x00", "A" * 64, "a" * 65, "\ud800", "a" * 63 + "\n"])
def test_text_that_is_no_id_is_unknown(name: str, store: FeedbackStore) -> None:
    assert not store.delete(name)


@pytest.mark.parametrize("batch", [2, 1000])
def test_images_are_exported_by_label(
    batch: int, store: FeedbackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_module, "BATCH", batch)
    for number in range(3):
        store.add(tile(number), 5 + number % 2, READ_AS_3)
    advanced: list[int] = []
    assert store.export_images(tmp_path / "export", advanced.append) == sum(advanced) == 3
    found = {path.relative_to(tmp_path / "export"): path for path in (tmp_path / "export").rglob("*.png")}
    assert set(found) == {Path(str(5 + number % 2)) / f"{tile_id(number)}.png" for number in range(3)}
    for number in range(3):
        with Image.open(found[Path(str(5 + number % 2)) / f"{tile_id(number)}.png"]) as image:
            assert np.array_equal(np.asarray(image), tile(number))


@pytest.mark.processes  # torchvision takes seconds to import
def test_torchvision_reads_exported_images(store: FeedbackStore, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    for number in range(3):
        store.add(tile(number), number, READ_AS_3)
    store.export_images(tmp_path / "export")
    assert [label for _, label in ImageFolder(str(tmp_path / "export"))] == [0, 1, 2]


@pytest.mark.parametrize("batch", [2, 1000])
def test_an_array_is_exported_that_only_its_owner_can_read(
    batch: int, store: FeedbackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_module, "BATCH", batch)
    for number in range(3):
        store.add(tile(number), number, READ_AS_3)
    assert store.export_array(tmp_path / "feedback.npy") == 3
    records = np.load(tmp_path / "feedback.npy", allow_pickle=False)
    order = sorted(range(3), key=tile_id)
    assert records["id"].astype(str).tolist() == [tile_id(number) for number in order]
    assert records["label"].tolist() == order
    assert np.array_equal(records["tile"], np.stack([tile(number) for number in order]))
    assert (tmp_path / "feedback.npy").stat().st_mode & 0o777 == 0o600


def test_an_empty_store_exports_no_images_and_an_empty_array(store: FeedbackStore, tmp_path: Path) -> None:
    assert store.export_images(tmp_path / "export") == 0
    assert list((tmp_path / "export").iterdir()) == []
    assert store.export_array(tmp_path / "feedback.npy") == 0
    assert np.load(tmp_path / "feedback.npy", allow_pickle=False).shape == (0,)


@pytest.mark.parametrize("export", [FeedbackStore.export_images, FeedbackStore.export_array])
def test_a_full_disk_ends_an_export(
    export: Callable[[FeedbackStore, Path], int], store: FeedbackStore, tmp_path: Path
) -> None:
    store.add(tile(0), 1, READ_AS_3)
    with file_size_limit(100), pytest.raises(HomeError) as caught:
        export(store, tmp_path / "export")
    assert caught.value.problem == "storage-full"


def test_a_tile_that_many_callers_add_at_once_is_stored_once(database: Database) -> None:
    store = FeedbackStore(database, limit=100)
    start = threading.Barrier(8)

    def add(label: int) -> bool:
        start.wait(60)
        return store.add(tile(0), label, READ_AS_3)[1] is None

    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(add, range(8)))
    assert sorted(created) == [False] * 7 + [True]
    assert store.count() == 1


@pytest.mark.processes
def test_adding_relabelling_and_deleting_at_once_never_fail(database: Database) -> None:
    """Each of 4 threads relabels and deletes the same tile 50 times."""
    store = FeedbackStore(database, limit=100)
    start = threading.Barrier(4)

    def change(thread: int) -> None:
        start.wait(60)
        for turn in range(50):
            label = (thread + turn) % 10
            stored, _ = store.add(tile(0), label, READ_AS_3)
            assert (stored.id, stored.label) == (tile_id(0), label)
            if turn % 2:
                store.delete(stored.id)

    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(change, thread) for thread in range(4)]:
            outcome.result()
    assert store.count() <= 1


def test_a_relabel_waits_for_a_delete_and_stores_the_tile_anew(database: Database) -> None:
    store = FeedbackStore(database, limit=100)
    store.add(tile(0), 1, READ_AS_3)
    with ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            connection.execute(sa.delete(feedback).where(feedback.c.id == tile_id(0)))
            relabel = pool.submit(store.add, tile(0), 2, READ_AS_5)
            with suppress(TimeoutError):
                relabel.result(0.5)
            assert not relabel.done()
        stored, former = relabel.result(60)
    assert (stored.label, former) == (2, None)
    assert store.counts().by_label == {"2": 1}


def test_conflicts_without_end_are_an_unavailable_database(store: FeedbackStore, database: Database) -> None:
    """A trigger stands for a worker that is always faster: each insert meets a conflict."""
    with database.write() as connection:
        make_inserts_conflict(connection, "feedback")
    with pytest.raises(DatabaseUnavailable):
        store.add(tile(0), 1, READ_AS_3)
    assert store.count() == 0
