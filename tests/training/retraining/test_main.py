import json
import subprocess
import sys
from pathlib import Path

from models.registry.registry import ModelRegistry
from tests.support.environment import ROOT
from tests.support.feedback import write_feedback


def order(tmp_path: Path, **changes: object) -> Path:
    ModelRegistry(tmp_path / "home").seed("net")
    write_feedback(tmp_path / "feedback.npy", 0)
    path = tmp_path / "order.json"
    places = {
        "home": str(tmp_path / "home"),
        "data": str(tmp_path / "data"),
        "feedback": str(tmp_path / "feedback.npy"),
    }
    rest = {"job": "a", "download": False, "device": "cpu", "keep_versions": 10}
    path.write_text(json.dumps({**places, **rest, **changes}))
    return path


def test_what_somebody_can_mend_is_told_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.retraining", str(order(tmp_path))]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    assert process.returncode == 2
    assert lines[-2].startswith("error: MNIST is not in")
    assert json.loads(lines[-1])["state"] == "failed"
    assert "INKLING_DOWNLOAD=false" in json.loads(lines[-1])["reason"]
    assert ModelRegistry(tmp_path / "home").names() == ["v1"]


def test_it_ends_with_its_owner(tmp_path: Path, data_folder: Path) -> None:
    path = order(tmp_path, data=str(data_folder), epochs=1000)
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
