import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry import version_files
from models.registry.manifest import MANIFEST
from models.registry.registry import RELEASED
from models.registry.version_files import COMPILED, WEIGHTS
from tests.support.environment import ROOT

pytestmark = pytest.mark.processes


def recompile(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "training.recompile", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_version_is_compiled_and_its_weights_stay(data_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(RELEASED / "net", tmp_path / "mine")
    (tmp_path / "mine" / COMPILED).unlink()
    described = version_files.read(RELEASED / "net").manifest
    (tmp_path / "mine" / MANIFEST).write_text(described.model_copy(update={"compiled": None}).model_dump_json())

    result = recompile(tmp_path / "mine", "--data", data_folder, "--no-download")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "mine" / WEIGHTS).read_bytes() == (RELEASED / "net" / WEIGHTS).read_bytes()
    version = version_files.read(tmp_path / "mine")
    assert version.predictor().runtime == f"onnxruntime-{version.manifest.compiled.precision}"
    assert (version.manifest.network, version.manifest.training) == (described.network, described.training)
    assert f"compiled in {version.manifest.compiled.precision}" in result.stdout


def test_a_folder_without_a_version_is_one_line(data_folder: Path, tmp_path: Path) -> None:
    result = recompile(tmp_path, "--data", data_folder)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {tmp_path}/manifest.json cannot be read")
    assert len(result.stderr.splitlines()) == 1
