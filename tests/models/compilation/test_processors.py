"""A compiled model answers alike on processors with other instructions, which QEMU imitates."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.registry import version_files
from models.registry.registry import RELEASED
from models.registry.version_files import COMPILED
from tests.support import services
from training.data.mnist import Digits
from training.held_out import copies

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="runs this machine's Python as another x86-64 processor"),
]

PROCESSORS = ["Haswell-v4", "Nehalem"]
"""With AVX2 and without, both without VNNI."""
SCRIPT = """
import sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
model, tiles, logits = sys.argv[1:]
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
parts = numpy.split(numpy.load(tiles), 20)
numpy.save(logits, numpy.concatenate([session.run(None, {"tiles": part})[0] for part in parts]))
"""


@pytest.fixture(scope="module")
def tiles(training_digits: Digits) -> np.ndarray:
    """1,000: digits, damaged digits, and blots."""
    digits = training_digits[torch.arange(400)]
    damaged = copies(digits, torch.Generator().manual_seed(0), damaged=1)
    blots = np.random.default_rng(0).integers(0, 256, (200, 7, 7), np.uint8)
    return np.concatenate([digits.images, damaged.images, np.kron(blots, np.ones((1, 4, 4), np.uint8))])


def logits(folder: Path, model: str, tiles: np.ndarray, *emulator: str) -> np.ndarray:
    np.save(folder / "tiles.npy", tiles)
    arguments = [RELEASED / model / COMPILED, folder / "tiles.npy", folder / "logits.npy"]
    subprocess.run([*emulator, sys.executable, "-c", SCRIPT, *arguments], check=True, stderr=subprocess.PIPE)
    return np.load(folder / "logits.npy")


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("model", ["convnet", "net"])
def test_digits_and_verdicts_are_those_of_this_processor(
    model: str, processor: str, tiles: np.ndarray, tmp_path: Path
) -> None:
    emulator = services.find("qemu-x86_64", "qemu-user")
    calibration = version_files.read(RELEASED / model).manifest.compiled.calibration
    (here, verdicts_here), (there, verdicts_there) = (
        calibration.answers(logits(tmp_path, model, tiles, *command))
        for command in ((), (str(emulator), "-cpu", processor))
    )
    assert np.array_equal(here.argmax(axis=1), there.argmax(axis=1))
    assert np.array_equal(verdicts_here, verdicts_there)
    assert np.abs(here - there).max() < 1e-3
