import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.registry.registry import ModelRegistry
from tests.support.environment import ROOT
from tests.support.feedback import write_feedback

pytestmark = pytest.mark.processes


def spec(tmp_path: Path, **changes: object) -> Path:
    ModelRegistry(tmp_path / "home").seed("net")
    write_feedback(tmp_path / "feedback.npy", 0)
    path = tmp_path / "job.json"
    paths = {name: str(tmp_path / name) for name in ("home", "data")}
    rest = {"feedback": str(tmp_path / "feedback.npy"), "job_id": "a", "download": False, "device": "cpu"}
    path.write_text(json.dumps({**paths, **rest, "keep_versions": 10, **changes}))
    return path


def test_an_error_that_a_person_can_mend_is_reported_with_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.retraining", str(spec(tmp_path))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 2
    assert lines[-2].startswith("error: MNIST is not in")
    assert json.loads(lines[-1])["state"] == "failed"
    assert "INKLING_DOWNLOAD=false" in json.loads(lines[-1])["reason"]
    assert ModelRegistry(tmp_path / "home").names() == ["v1"]


def test_the_trainer_ends_when_its_job_runner_is_gone(tmp_path: Path, data_folder: Path) -> None:
    path = spec(tmp_path, data=str(data_folder), epochs=1000)
    command = [sys.executable, "-m", "training.retraining", str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "process_group": 0, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        assert process.stdout is not None and process.stdin is not None
        for line in process.stdout:
            if "epoch" in line:
                break
        process.stdin.close()
        assert process.wait(30) < 0
    assert ModelRegistry(tmp_path / "home").names() == ["v1"]
