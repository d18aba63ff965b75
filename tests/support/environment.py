"""Paths, and the devices of this machine."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("INKLING_DATA", ROOT / "data")).resolve()
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use")


def without(folder: Path, library: str) -> dict[str, str]:
    """Environment variables of a Python process in which the library counts as not installed."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.modules[{library!r}] = None\n")
    return {"PYTHONPATH": str(folder)}
