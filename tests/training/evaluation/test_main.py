import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from models.errors import InklingError
from training.evaluation.__main__ import check_extra_installed

pytestmark = pytest.mark.processes

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path, seven: Image.Image) -> Path:
    """Two pictures of a seven, one of them labelled 1."""
    for label in ("7", "1"):
        (tmp_path / "mine" / label).mkdir(parents=True)
        seven.save(tmp_path / "mine" / label / "drawn.png")
    return tmp_path / "mine"


def test_a_folder_of_pictures_is_evaluated_and_reported(run: Run, tree: Path, tmp_path: Path) -> None:
    result = run("evaluate", "--model", "convnet", "--data", str(tree), "--report", str(tmp_path / "report"))
    assert result.returncode == 0, result.stderr
    assert "50.00%" in result.stdout
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["kinds"][0]["pictures"] == 2
    assert metrics["kinds"][0]["accuracy"] == 0.5
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<svg" in page
    assert not re.search(r"(?:src|href)=.https?:", page)


def test_the_compiled_model_is_compared_with_its_weights(run: Run, tree: Path) -> None:
    result = run("evaluate", "--model", "convnet", "--data", str(tree), "--compare")
    assert result.returncode == 0, result.stderr
    assert "model convnet, compiled against its weights" in result.stdout
    assert "all digits: 0.000 points lost, p = 1.00" in result.stdout


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--runtime", "abacus"], "--runtime"),
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--model", "v9", "--data", "nowhere"], "there is no version 'v9'"),
        (["--pictures", "0"], "--pictures"),
    ],
)
def test_errors_of_the_caller_are_one_line_and_status_2(arguments: list[str], expected: str, run: Run) -> None:
    result = run("evaluate", *arguments)
    assert result.returncode == 2
    assert expected in result.stderr
    assert "Traceback" not in result.stderr


def test_the_error_of_a_label_out_of_range_names_the_folder(run: Run, tree: Path) -> None:
    (tree / "1").rename(tree / "12")
    result = run("evaluate", "--data", str(tree))
    assert result.returncode == 2
    assert str(tree / "12") in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("package", ["matplotlib", "scipy", "sklearn"])
def test_a_missing_package_is_one_line_that_says_how_to_install_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_extra_installed()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InklingError, match=rf"{package}.*: pip install -e '\.\[evaluate\]'$"):
        check_extra_installed()
