import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.inference import parity
from models.registry.manifest import MANIFEST, read_manifest
from models.registry.registry import RELEASED, read
from tests.support.environment import ROOT

pytestmark = pytest.mark.processes


def compile_version(folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "models.compilation", str(folder), str(target)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_version_is_compiled_in_float32_and_answers_as_its_weights(tmp_path: Path) -> None:
    result = compile_version(RELEASED / "net", tmp_path / "compiled")
    assert (result.returncode, result.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "compiled").iterdir()) == [MANIFEST, "model.onnx"]
    version, manifest = read(RELEASED / "net"), read_manifest(tmp_path / "compiled")
    assert (manifest.sha256, manifest.compiled.precision) == (version.manifest.sha256, "float32")
    assert manifest.compiled.calibration == version.manifest.calibration

    session = onnxruntime.InferenceSession(tmp_path / "compiled" / "model.onnx", providers=["CPUExecutionProvider"])
    answers = manifest.compiled.calibration.probabilities(session.run(None, {"tiles": parity.tiles()})[0])
    assert np.abs(answers - manifest.compiled.answers).max() < 1e-5
    assert np.abs(answers - parity.answers(version.predictor(runtime="torch"))).max() < 1e-5


def test_a_version_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    shutil.copytree(RELEASED / "net", tmp_path / "broken")
    (tmp_path / "broken" / "weights.pt").write_bytes(b"")
    result = compile_version(tmp_path / "broken", tmp_path / "compiled")
    assert result.returncode != 0
    assert result.stderr.endswith("weights.pt does not have the sha256 that its manifest names\n")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "compiled").exists()
