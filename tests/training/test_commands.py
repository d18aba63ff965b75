import pytest
import torch

from models import cores
from training.commands import keep_to_quota


@pytest.mark.parametrize("threads, usable, expected", [(3, 2, 2), (1, 4, 1)])
def test_no_more_threads_than_the_container_has_cores(
    threads: int, usable: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "usable", lambda: usable)
    torch.set_num_threads(threads)
    try:
        keep_to_quota()
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(1)
