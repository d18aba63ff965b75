import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models import cpus
from training.exit_status import keep_to_quota

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("threads, usable, expected", [(3, 2, 2), (1, 4, 1)])
def test_no_more_threads_than_the_container_has_cores(
    threads: int, usable: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: usable)
    torch.set_num_threads(threads)
    try:
        keep_to_quota()
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["evaluate", "--report", ""], "an empty argument after '--report'; expected a value"),
        (["train", "--output="], "nothing after '--output='; expected a value"),
    ],
)
def test_an_empty_value_is_not_the_folder_that_one_stands_in(arguments: list[str], expected: str, run: Run) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: Invalid value: {expected}; see inkling --help\n"
    assert not list(Path().iterdir())
