import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models import cpus
from training import threads

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from training import threads
threads.limit_spinning()
assert "torch" not in sys.modules
import torch
torch.ones(8).sum()
"""


@pytest.mark.parametrize(
    ("before", "usable", "network", "expected"),
    [(3, 2, None, 2), (1, 4, None, 1), (4, 4, "convnet", 4), (4, 4, "net", 1), (4, 4, "sequential", 1)],
)
def test_threads_are_no_more_than_cores_and_one_for_a_small_network(
    before: int, usable: int, network: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "usable", lambda: usable)
    torch.set_num_threads(before)
    try:
        threads.limit_threads(network)
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(1)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "20000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "PASSIVE"}, "0")],
)
def test_openmp_takes_the_limit_of_spinning_and_a_users_setting_beats_it(
    variables: dict[str, str], expected: str
) -> None:
    """OMP_DISPLAY_ENV has libgomp print its settings when it is loaded."""
    # Tests that train in this process have set the limit in its environment.
    others = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**others, "OMP_DISPLAY_ENV": "verbose", **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in result.stderr:
        pytest.skip("this torch has another OpenMP library than libgomp")
    assert f"GOMP_SPINCOUNT = '{expected}'" in result.stderr
