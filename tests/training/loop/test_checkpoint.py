from pathlib import Path

import pytest
import torch

from models.errors import DataError, HomeError
from training.loop.checkpoint import Checkpoint


def test_a_saved_state_is_loaded_until_it_is_removed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "deep" / "run.pt", {"seed": 3})
    assert checkpoint.load() is None
    checkpoint.check_writable()
    checkpoint.save({"epoch": 1, "weights": torch.arange(3)})
    checkpoint.save({"epoch": 2, "weights": torch.arange(4)})
    state = Checkpoint(checkpoint.path, {"seed": 3}).load()
    assert state is not None
    assert state["epoch"] == 2
    assert torch.equal(state["weights"], torch.arange(4))
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]
    checkpoint.remove()
    assert checkpoint.load() is None


def test_the_checkpoint_of_another_run_is_refused_and_stays(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "run.pt", {"epochs": 5, "seed": 3}).save({"epoch": 1})
    with pytest.raises(DataError, match=r"run.pt belongs to another run: epochs is 5 there and 6 here"):
        Checkpoint(tmp_path / "run.pt", {"epochs": 6, "seed": 3}).load()
    assert (tmp_path / "run.pt").exists()


def test_the_checkpoint_of_another_release_is_refused_and_stays(tmp_path: Path) -> None:
    Checkpoint(tmp_path / "run.pt", {"parts": 2, "seed": 3}).save({"epoch": 1})
    with pytest.raises(DataError, match=r"run.pt was written by another release .*: it does not say stages"):
        Checkpoint(tmp_path / "run.pt", {"stages": 2, "seed": 3}).load()
    assert (tmp_path / "run.pt").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"epoch 1/2  loss 0.5\n", b"GIF89a", None])
def test_a_file_that_is_not_a_checkpoint_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "run.pt"
    if content is None:
        torch.save([1, 2], path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"run.pt is not a checkpoint"):
        Checkpoint(path, {}).load()


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeError, match=r"file/run.pt cannot be written"):
        Checkpoint(tmp_path / "file" / "run.pt", {}).save({})
    with pytest.raises(HomeError, match=r"file cannot be written by uid"):
        Checkpoint(tmp_path / "file" / "run.pt", {}).check_writable()


def test_a_full_device_is_not_mistaken_for_a_state_that_does_not_fit(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "run.pt", {})
    optimizer = torch.optim.AdamW([torch.zeros(3, requires_grad=True)])
    with (
        pytest.raises(
            DataError, match=r"run.pt does not fit this run \(AttributeError: .*\); remove it to start again"
        ),
        checkpoint.restoring(),
    ):
        optimizer.load_state_dict("nothing of the kind")  # type: ignore[arg-type]
    with pytest.raises(torch.OutOfMemoryError), checkpoint.restoring():
        raise torch.OutOfMemoryError("CUDA out of memory")
