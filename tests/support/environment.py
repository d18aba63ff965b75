"""Paths, and the devices of this machine."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("INKLING_DATA", ROOT / "data")).resolve()
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use")
