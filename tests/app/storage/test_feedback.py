import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.storage.database import Database, StorageFull
from app.storage.feedback import FeedbackStore
from models.inference.predictor import Prediction

READ_AS_3 = Prediction(3, 0.9, (0.0,) * 10, "digit", "v1")
READ_AS_5 = Prediction(5, 0.6, (0.0,) * 10, "digit", "v2")


def tile(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (28, 28), dtype=np.uint8)


@pytest.fixture
def store(tmp_path: Path, database: Database) -> FeedbackStore:
    return FeedbackStore(tmp_path / "home", database, limit=3)


def test_the_same_tile_is_one_sample_and_a_new_label_replaces_the_old_one(store: FeedbackStore) -> None:
    first, before = store.add(tile(0), 8, READ_AS_3)
    assert (first.label, first.prediction, first.model, before) == (8, 3, "v1", None)
    again, before = store.add(tile(0), 8, READ_AS_5)
    assert (again, before) == (first, first)
    other, before = store.add(tile(0), 9, READ_AS_5)
    assert (other.id, other.label, other.prediction, other.model) == (first.id, 9, 5, "v2")
    assert before == first
    assert other.created_at == first.created_at
    assert (store.counts().total, store.counts().by_label) == (1, {"9": 1})


def test_counts_by_label_and_day(store: FeedbackStore) -> None:
    for number, label in enumerate([4, 4, 0]):
        store.add(tile(number), label, READ_AS_3)
    counts = store.counts()
    day = store.add(tile(0), 4, READ_AS_3)[0].created_at.date()
    assert (counts.total, counts.by_label, counts.by_day) == (3, {"0": 1, "4": 2}, {str(day): 3})


def test_a_full_store_refuses_loses_nothing_and_still_takes_new_labels(store: FeedbackStore) -> None:
    for number in range(3):
        store.add(tile(number), number, READ_AS_3)
    with pytest.raises(StorageFull, match="INKLING_MAX_FEEDBACK=3") as caught:
        store.add(tile(3), 3, READ_AS_3)
    assert caught.value.members == {"limit": 3}
    assert store.counts().by_label == {"0": 1, "1": 1, "2": 1}
    assert len(list(store.folder.rglob("*.png"))) == 3
    changed, _ = store.add(tile(0), 7, READ_AS_3)
    assert store.delete(changed.id)
    store.add(tile(3), 3, READ_AS_3)
    assert store.counts().by_label == {"1": 1, "2": 1, "3": 1}


def test_deleting_takes_the_picture_along(store: FeedbackStore) -> None:
    stored, _ = store.add(tile(0), 1, READ_AS_3)
    assert store.delete(stored.id)
    assert not store.delete(stored.id)
    assert (store.counts().total, list(store.folder.rglob("*.png"))) == (0, [])


def test_the_export_is_a_tree_of_tiles_by_label(store: FeedbackStore, tmp_path: Path) -> None:
    stored = {number: store.add(tile(number), 5 + number % 2, READ_AS_3)[0] for number in range(3)}
    told: list[int] = []
    assert store.export(tmp_path / "export", told.append) == 3
    assert told == [1, 1, 1]
    found = sorted(path.relative_to(tmp_path / "export") for path in (tmp_path / "export").rglob("*.png"))
    assert found == sorted(Path(str(correction.label)) / f"{correction.id}.png" for correction in stored.values())
    for number, correction in stored.items():
        image = Image.open(tmp_path / "export" / str(correction.label) / f"{correction.id}.png")
        assert np.array_equal(np.asarray(image), tile(number))


def test_torchvision_reads_the_export(store: FeedbackStore, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    for number in range(3):
        store.add(tile(number), number, READ_AS_3)
    store.export(tmp_path / "export")
    assert [label for _, label in ImageFolder(str(tmp_path / "export"))] == [0, 1, 2]


def test_an_empty_store_exports_an_empty_folder(store: FeedbackStore, tmp_path: Path) -> None:
    assert store.export(tmp_path / "export") == 0
    assert list((tmp_path / "export").iterdir()) == []


def test_one_tile_from_many_callers_at_once_is_one_sample(tmp_path: Path, database: Database) -> None:
    store = FeedbackStore(tmp_path / "home", database, limit=100)
    news: list[bool] = []

    def add(label: int) -> None:
        news.append(store.add(tile(0), label, READ_AS_3)[1] is None)

    threads = [threading.Thread(target=add, args=(label,)) for label in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(news) == [False] * 7 + [True]
    assert store.counts().total == 1


def test_a_full_disk_is_said_and_loses_nothing(store: FeedbackStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on the size of files stands for the disk: the system refuses to let the file grow."""
    import resource
    import signal

    store.add(tile(0), 1, READ_AS_3)
    former, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, former[1]))
    try:
        with pytest.raises(StorageFull, match="full"):
            store.add(tile(1), 2, READ_AS_3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
        signal.signal(signal.SIGXFSZ, handler)
    assert store.counts().by_label == {"1": 1}
    assert len([path for path in store.folder.rglob("*") if path.is_file()]) == 1
    store.add(tile(1), 2, READ_AS_3)
    assert store.counts().total == 2
