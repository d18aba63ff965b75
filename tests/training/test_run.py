import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.errors import DataError, HomeError
from models.inference import networks
from models.inference.networks import NETWORKS
from models.registry import version_files
from models.registry.registry import ModelRegistry
from tests.support.killed import Killed
from training import held_out as held_out_tiles
from training import packaging, run
from training.data import mnist
from training.data.mnist import Digits
from training.data.synthetic import pen
from training.loop import fit
from training.progress import Report
from training.recipes import RECIPES, TEACHER_RECIPES, TUTORIAL, Stage

pytestmark = pytest.mark.processes

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
    saved = ModelRegistry(home)
    assert (saved.names(), saved.active()) == (["v1", "v2"], "v1")

    manifest = saved.manifest("v1")
    assert manifest.metrics["held_out"]["accuracy"] > 0.95
    assert manifest.training["recipe"] == "tutorial"
    assert manifest.training["seed"] == 3
    assert saved.manifest("v2").parent == "v1"
    assert saved.load("v1").network()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_a_damaged_active_file_does_not_cost_the_trained_network(
    data_folder: Path, tmp_path: Path, training_digits: Digits
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "active").write_text("nonsense")
    digits, held_out = mnist.split(training_digits)
    settings = run.Run("tutorial", data_folder, tmp_path)
    run.save(networks.create("net"), settings, TUTORIAL, digits, held_out, Report(quiet=True))
    saved = ModelRegistry(tmp_path)
    assert saved.active() == "v1"
    assert saved.manifest("v1").parent is None


def test_output_writes_the_files_of_a_version_there(data_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "--recipe", "tutorial", "--output", str(tmp_path / "mine"), "--quiet"]
    command += ["--data", str(data_folder), "--home", str(tmp_path / "home")]
    subprocess.run(command, check=True, cwd=ROOT)
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["manifest.json", "model.onnx", "weights.pt"]
    assert json.loads((tmp_path / "mine" / "manifest.json").read_text())["state"] == "released"
    assert version_files.read(tmp_path / "mine").manifest.network == "net"
    assert not (tmp_path / "home").exists()


@pytest.fixture
def small_recipes(monkeypatch: pytest.MonkeyPatch, training_digits: Digits) -> None:
    """The default recipe and its teachers, with one epoch of a few digits for each stage."""
    digits, held_out = mnist.split(training_digits)
    few = digits[torch.arange(1_000)], held_out[torch.arange(500)]
    monkeypatch.setattr(mnist, "split", lambda _: few)
    monkeypatch.setattr(held_out_tiles, "OUTLIERS", 28)
    monkeypatch.setattr(packaging, "SCALING_TILES", 28)
    stage = Stage(epochs=1, learning_rate=0.004)
    teacher = dataclasses.replace(RECIPES["teacher"], network="net", stages=(stage,))
    distilled = dataclasses.replace(stage, distil=True)
    monkeypatch.setitem(RECIPES, "teacher", teacher)
    monkeypatch.setitem(RECIPES, "long-teacher", dataclasses.replace(teacher, weight_decay=0.5))
    student = dataclasses.replace(teacher, teachers=("net", "sequential"), stages=(stage, distilled))
    for recipe in ("default", "long"):
        monkeypatch.setitem(RECIPES, recipe, student)


@pytest.mark.usefixtures("small_recipes")
def test_teachers_are_trained_first_and_kept_where_they_are_told_to(data_folder: Path, tmp_path: Path) -> None:
    settings = run.Run("default", data_folder, tmp_path / "home", teachers=tmp_path / "teachers")
    run.train(settings, Report(quiet=True))
    assert names(settings.teachers / "teacher") == ["net", "sequential"]
    made = {path: path.stat().st_mtime_ns for path in settings.teachers.rglob("*.pt")}
    run.train(settings, Report(quiet=True))
    assert {path: path.stat().st_mtime_ns for path in settings.teachers.rglob("*.pt")} == made
    first, again = (ModelRegistry(settings.home).load(name) for name in ("v1", "v2"))
    assert first.manifest.training["teachers"] == ["net", "sequential"]
    assert first.manifest.sha256 == again.manifest.sha256

    labels_only = dataclasses.replace(RECIPES["default"], stages=(RECIPES["default"].stages[0],) * 2)
    weights = torch.nn.utils.parameters_to_vector(first.network().parameters())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "default", labels_only)
        run.train(settings, Report(quiet=True))
    other = ModelRegistry(settings.home).load("v3").network().parameters()
    assert not torch.equal(torch.nn.utils.parameters_to_vector(other), weights)


@pytest.mark.usefixtures("small_recipes")
def test_recipes_that_share_a_folder_have_their_own_teachers(data_folder: Path, tmp_path: Path) -> None:
    for recipe in ("default", "long"):
        settings = run.Run(recipe, data_folder, tmp_path / "home", teachers=tmp_path / "teachers")
        run.train(settings, Report(quiet=True))
    decay = {
        folder.name: version_files.read(folder / "net").manifest.training["weight_decay"]
        for folder in (tmp_path / "teachers").iterdir()
    }
    assert decay == {"teacher": RECIPES["teacher"].weight_decay, "long-teacher": 0.5}


def test_teachers_are_networks_whose_recipe_has_no_teachers() -> None:
    for recipe, teacher_recipe in TEACHER_RECIPES.items():
        assert set(RECIPES[recipe].teachers) <= set(NETWORKS)
        assert not RECIPES[teacher_recipe].teachers


@pytest.mark.usefixtures("small_recipes")
def test_a_teacher_by_another_recipe_is_refused_and_named(data_folder: Path, tmp_path: Path) -> None:
    settings = run.Run("default", data_folder, tmp_path / "home", teachers=tmp_path / "teachers")
    assert settings.teachers
    other = dataclasses.replace(
        settings, recipe="teacher", output=settings.teachers / "teacher" / "net", network="sequential"
    )
    run.train(other, Report(quiet=True))
    with pytest.raises(DataError, match=r"teacher/net belongs to another run: network is 'sequential' there and 'net'"):
        run.train(settings, Report(quiet=True))
    assert ModelRegistry(settings.home).names() == []


@pytest.mark.usefixtures("small_recipes")
def test_a_resumed_distillation_ends_with_the_weights_of_one_that_was_not_interrupted(
    data_folder: Path, tmp_path: Path
) -> None:
    settings = run.Run("default", data_folder, tmp_path / "home")
    run.train(settings, Report(quiet=True))
    kept = dataclasses.replace(settings, checkpoint=tmp_path / "run.pt")
    mine = tmp_path / "run.pt.teachers" / "mine"
    mine.mkdir(parents=True)
    for beginning in ("teacher sequential", "epoch 2/2"):  # between two teachers, and in the distillation
        with pytest.raises(KeyboardInterrupt):
            run.train(kept, Killed(beginning))
    assert names(tmp_path / "run.pt.teachers" / "teacher") == ["net", "sequential"]
    run.train(kept, Report(quiet=True))
    whole, resumed = (ModelRegistry(settings.home).manifest(name) for name in ("v1", "v2"))
    assert whole.sha256 == resumed.sha256
    assert whole.training["teachers_sha256"] == resumed.training["teachers_sha256"]
    assert names(tmp_path) == ["home", "run.pt.teachers"]
    assert names(mine.parent) == ["mine"]
    mine.rmdir()
    run.train(kept, Report(quiet=True))
    assert names(tmp_path) == ["home"]


@pytest.mark.usefixtures("small_recipes")
def test_a_run_does_not_resume_with_other_teachers(data_folder: Path, tmp_path: Path) -> None:
    settings = run.Run("default", data_folder, tmp_path / "home", checkpoint=tmp_path / "run.pt")
    with pytest.raises(KeyboardInterrupt):
        run.train(settings, Killed("epoch 2/2"))
    mine, others = tmp_path / "run.pt.teachers" / "teacher", tmp_path / "others" / "teacher"
    shutil.copytree(mine / "net", others / "net")
    other = version_files.read(mine / "sequential")
    weights = {name: tensor + 1e-3 for name, tensor in other.network().state_dict().items()}
    version_files.write(others / "sequential", weights, other.manifest)
    with pytest.raises(DataError, match=r"run.pt belongs to another run: teachers_sha256 is"):
        run.train(dataclasses.replace(settings, teachers=tmp_path / "others"), Report(quiet=True))


@pytest.mark.usefixtures("small_recipes")
def test_what_can_be_checked_is_checked_before_training(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "fit", lambda *_: pytest.fail("trained before the checks"))
    settings = run.Run("default", data_folder, tmp_path / "home", output=tmp_path / "mine")
    for inside in ({"teachers": tmp_path / "mine"}, {"checkpoint": tmp_path / "mine" / "run.pt"}):
        with pytest.raises(HomeError, match=r"mine.* lies in .*mine; name separate paths for output"):
            run.train(dataclasses.replace(settings, **inside), Report(quiet=True))
    for apart in ({"checkpoint": tmp_path / "t" / "run.pt"}, {"output": tmp_path / "t" / "teacher" / "net"}):
        with pytest.raises(HomeError, match=r"/t.* lies in .*/t; name separate paths for output"):
            run.train(dataclasses.replace(settings, teachers=tmp_path / "t", **apart), Report(quiet=True))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(HomeError, match=r"loop cannot be read"):
        run.train(
            dataclasses.replace(settings, output=tmp_path / "loop", checkpoint=tmp_path / "run.pt"), Report(quiet=True)
        )
    (tmp_path / "loop").unlink()
    (tmp_path / "file").write_text("no folder")
    for unwritable in ({"teachers": tmp_path / "file"}, {"checkpoint": tmp_path / "file" / "run.pt"}):
        with pytest.raises(HomeError, match=r"file cannot be written by uid"):
            run.train(dataclasses.replace(settings, **unwritable), Report(quiet=True))
    (tmp_path / "file").unlink()
    monkeypatch.setattr(pen, "OUTLINE_FONTS", ("font_of_nowhere",))
    with pytest.raises(DataError, match=r"the fonts of font_of_nowhere are not installed: pip install -e"):
        run.train(settings, Report(quiet=True))
    assert names(tmp_path) == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


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
    assert ModelRegistry(tmp_path / "home").names() == []
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert error.strip() == "interrupted; nothing was saved"


@pytest.mark.parametrize("unwritable", ["home", "output"])
def test_a_folder_that_cannot_be_written_is_named_before_training(
    unwritable: str, run: Run, data_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("not a folder")
    output = ["--output", str(tmp_path / "file" / "mine")] if unwritable == "output" else []
    home = tmp_path / ("file" if unwritable == "home" else "home")
    result = run("train", "--recipe", "tutorial", *output, INKLING_DATA=str(data_folder), INKLING_HOME=str(home))
    assert result.returncode == 2
    assert "batch" not in result.stdout
    assert f"error: {tmp_path}/file" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--recipe", "magic"], "one of tutorial, default, long, net, teacher, long-teacher, quick"),
        (["--network", "resnet"], "one of net, sequential, convnet, wide, deep, large, unpooled"),
        (["--epochs", "0"], "--epochs"),
        (["--recipe", "tutorial", "--checkpoint", "run.pt"], "Invalid value for --checkpoint"),
        (
            ["--recipe", "quick", "--teachers", "folder"],
            "Invalid value for --teachers: the recipe 'quick' has no teachers",
        ),
        (["--device", "cuda:99"], "device 'cuda:99' is not available here; choose one of auto, cpu"),
        (["--data", "nowhere", "--no-download"], "nowhere/MNIST/raw"),
        (["--colour"], "--colour"),
    ],
)
def test_an_error_that_the_caller_can_correct_is_one_line_and_status_2(
    arguments: list[str], expected: str, run: Run, tmp_path: Path
) -> None:
    result = run("train", *arguments, INKLING_HOME=str(tmp_path / "home"))
    assert result.returncode == 2
    assert expected in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "home").exists()
