import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from app.settings import Settings
from app.storage.database import Database
from app.storage.feedback import FeedbackStore
from models.errors import DataError
from tests.support.feedback import READ_AS_3, tile, tile_id, write_feedback
from training.data.mnist import Digits
from training.retraining import feedback_data


def ids(digits: Digits) -> list[str]:
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in digits.images]


def read(path: Path, count: int) -> feedback_data.Feedback:
    write_feedback(path, count)
    return feedback_data.read(path)


def test_what_the_store_exports_is_read(tmp_path: Path) -> None:
    database = Database(Settings(home=tmp_path))
    database.migrate()
    store = FeedbackStore(database, limit=100)
    for number in range(30):
        store.add(tile(number), number % 10, READ_AS_3)
    store.export_array(tmp_path / "feedback.npy")
    database.close()
    feedback = feedback_data.read(tmp_path / "feedback.npy")
    order = sorted(range(30), key=tile_id)
    assert feedback.ids == ids(feedback.digits) == [tile_id(number) for number in order]
    assert feedback.digits.labels.tolist() == [number % 10 for number in order]


def test_feedback_may_be_empty(tmp_path: Path) -> None:
    feedback = read(tmp_path / "feedback.npy", 0)
    assert (feedback.digits.images.shape, feedback.ids) == ((0, 28, 28), [])
    assert [len(part) for part in feedback_data.split(feedback, feedback_data.NO_FEEDBACK)] == [0, 0]


def test_one_in_five_is_held_out_by_its_own_hash(tmp_path: Path) -> None:
    feedback = read(tmp_path / "feedback.npy", 300)
    trained, held_out = feedback_data.split(feedback, feedback_data.NO_FEEDBACK)
    assert sorted(ids(trained) + ids(held_out)) == feedback.ids
    assert 35 <= len(held_out) <= 85
    assert all(int(name, 16) % 5 == 0 for name in ids(held_out))
    fewer = read(tmp_path / "fewer.npy", 100)
    assert set(ids(feedback_data.split(fewer, feedback_data.NO_FEEDBACK)[1])) <= set(ids(held_out))


def test_a_held_out_mnist_digit_in_the_feedback_is_not_trained_on(tmp_path: Path) -> None:
    feedback = read(tmp_path / "feedback.npy", 50)
    trained, held_out = feedback_data.split(feedback, feedback_data.NO_FEEDBACK)
    fewer, same = feedback_data.split(feedback, trained[torch.tensor([0, 1])])
    assert ids(fewer) == ids(trained)[2:]
    assert ids(same) == ids(held_out)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3),
        np.zeros(3, [("id", "S64"), ("label", np.int64)]),
        np.zeros(3, [("id", "S64"), ("label", np.int64), ("tile", np.uint8, (5, 5))]),
        np.zeros(3, [("id", "S64"), ("label", np.int64), ("tile", np.float32, (28, 28))]),
        np.array([{"a": "pickled object"}]),
    ],
    ids=["numbers", "no tiles", "small tiles", "float tiles", "pickle"],
)
def test_an_array_of_another_kind_is_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "feedback.npy", array)
    with pytest.raises(DataError, match=r"feedback\.npy"):
        feedback_data.read(tmp_path / "feedback.npy")


@pytest.mark.parametrize("length", [0, 10, 1000])
def test_a_truncated_file_is_refused(length: int, tmp_path: Path) -> None:
    path = tmp_path / "feedback.npy"
    write_feedback(path, 3)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"feedback\.npy"):
        feedback_data.read(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        feedback_data.read(tmp_path / "feedback.npy")
