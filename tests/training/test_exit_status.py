import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["evaluate", "--report", ""], "an empty argument after '--report'; expected a value"),
        (["train", "--output="], "nothing after '--output='; expected a value"),
    ],
)
def test_an_empty_value_is_refused_and_not_read_as_the_current_folder(
    arguments: list[str], expected: str, run: Run
) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: Invalid value: {expected}; see inkling --help\n"
    assert not list(Path().iterdir())
