"""The ceiling that Inkling is held against: the bare server, plus the cost of each step of an answer, on one core."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.machine import ROOT, BenchmarkError

STEPS = ("multipart", "decode", "normalise", "net-forward", "json")
BATCHED = ("decode", "normalise", "net-forward")

Costs = Mapping[str, float]
"""The wall seconds per image of each step."""


def measure(core: int) -> dict[str, float]:
    """Times the steps in a process of its own on this core. Raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="inkling-steps-") as folder:
        file = Path(folder) / "steps.json"
        command = [sys.executable, "-m", "benchmarks.steps", "--json", str(file), "--only", *STEPS]
        found = subprocess.run(["taskset", "-c", str(core), *command], cwd=ROOT, capture_output=True, text=True)
        if found.returncode != 0:
            raise BenchmarkError(f"benchmarks.steps ended with {found.returncode}:\n{found.stderr.strip()}")
        costs = json.loads(file.read_text())["steps"]
    return {name: median(costs[name]["wall"]) for name in STEPS}


def requests_per_second(bare: float, costs: Costs) -> float:
    """bare: the requests per second of a server that does nothing."""
    return 1 / (1 / bare + sum(costs[name] for name in STEPS))


def batch_images_per_second(costs: Costs) -> float:
    """The images per second of one large batch, in which the request itself costs next to nothing."""
    return 1 / sum(costs[name] for name in BATCHED)
