import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models import versions
from models.versions import Versions

ROOT = Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_train_saves_and_activates_a_version_that_predicts(run: Run, data_folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    places = {"INKLING_DATA": str(data_folder), "INKLING_HOME": str(home)}
    result = run("train", "--recipe", "tutorial", "--seed", "3", **places)
    assert result.returncode == 0, result.stderr
    assert f"v1 saved in {home}/models/v1, now active" in result.stdout
    assert "\x1b" not in result.stdout

    result = run("train", "--recipe", "tutorial", "--no-activate", "--quiet", **places)
    assert (result.returncode, result.stdout) == (0, "")
    saved = Versions(home)
    assert (saved.names(), saved.active()) == (["v1", "v2"], "v1")

    manifest = saved.manifest("v1")
    assert manifest.metrics["held_out"]["accuracy"] > 0.95
    assert manifest.training["recipe"] == "tutorial"
    assert manifest.training["seed"] == 3
    assert saved.manifest("v2").parent == "v1"
    assert saved.load("v1").network(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_an_active_file_that_makes_no_sense_does_not_cost_what_was_trained(
    run: Run, data_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "active").write_text("nonsense")
    places = {"INKLING_DATA": str(data_folder), "INKLING_HOME": str(tmp_path / "home")}
    result = run("train", "--recipe", "tutorial", "--quiet", **places)
    assert result.returncode == 0, result.stderr
    saved = Versions(tmp_path / "home")
    assert saved.active() == "v1"
    assert saved.manifest("v1").parent is None


def test_output_writes_the_two_files_there(data_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "--recipe", "tutorial", "--output", str(tmp_path / "mine"), "--quiet"]
    command += ["--data", str(data_folder), "--home", str(tmp_path / "home")]
    subprocess.run(command, check=True, cwd=ROOT)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["manifest.json", "weights.pt"]
    assert json.loads((tmp_path / "mine" / "manifest.json").read_text())["state"] == "released"
    assert versions.read(tmp_path / "mine").manifest.network == "net"
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_version(number: signal.Signals, data_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "--recipe", "tutorial", "--epochs", "50"]
    command += ["--data", str(data_folder), "--home", str(tmp_path / "home")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "batch" in line:
                break
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert Versions(tmp_path / "home").names() == []
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error.strip() == "interrupted; nothing was saved"


@pytest.mark.parametrize("place", ["home", "output"])
def test_a_place_that_can_not_be_written_is_said_before_training(
    place: str, run: Run, data_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    output = ["--output", str(tmp_path / "file" / "mine")] if place == "output" else []
    home = tmp_path / ("file" if place == "home" else "home")
    result = run("train", "--recipe", "tutorial", *output, INKLING_DATA=str(data_folder), INKLING_HOME=str(home))
    assert result.returncode == 2
    assert "batch" not in result.stdout
    assert f"error: {tmp_path}/file" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--recipe", "magic"], "none of tutorial, default, net, quick"),
        (["--network", "resnet"], "none of net, sequential, convnet"),
        (["--epochs", "0"], "--epochs"),
        (["--recipe", "tutorial", "--checkpoint", "run.pt"], "Invalid value for --checkpoint"),
        (["--device", "cuda:99"], "device 'cuda:99' is not available here; available are auto, cpu"),
        (["--data", "nowhere", "--no-download"], "nowhere/MNIST/raw"),
        (["--colour"], "--colour"),
    ],
)
def test_what_the_caller_can_mend_is_one_line_and_status_2(
    arguments: list[str], expected: str, run: Run, tmp_path: Path
) -> None:
    result = run("train", *arguments, INKLING_HOME=str(tmp_path / "home"))
    assert result.returncode == 2
    assert expected in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "home").exists()
