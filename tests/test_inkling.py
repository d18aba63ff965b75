import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.environment import ROOT
from tests.support.service import Server

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.processes


def test_predict_answers_as_the_service_does(run: Run, server: Server, seven: Image.Image, encode) -> None:
    Path("seven.png").write_bytes(encode(seven))
    result = run("predict", "seven.png", "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer.pop("file") == "seven.png"
    expected = server.predict(encode(seven))
    assert {**answer, "model": "v1", "probabilities": None} == {**expected, "probabilities": None}
    assert not Path("state").exists()


def test_a_bad_file_does_not_keep_the_others_from_their_answer(run: Run, seven: Image.Image, encode) -> None:
    Path("seven.png").write_bytes(encode(seven))
    Path("words.png").write_text("no picture")
    result = run("predict", "missing.png", "words.png", "seven.png")
    assert result.returncode == 2
    errors = result.stderr.splitlines()
    assert errors[0] == "error: missing.png: No such file or directory"
    assert errors[1].startswith("error: words.png: unsupported image format (looks like text)")
    assert len(errors) == 2
    assert re.fullmatch(r"seven\.png    7 +\d+\.\d\d%  digit\n", result.stdout)


def test_folders_and_standard_input(seven: Image.Image, encode) -> None:
    Path("scans/deep").mkdir(parents=True)
    Path("scans/b.PNG").write_bytes(encode(seven))
    Path("scans/deep/a.jpg").write_bytes(encode(seven, "JPEG"))
    Path("scans/notes.txt").write_text("no picture")
    Path("empty").mkdir()
    command = [sys.executable, str(ROOT / "inkling.py"), "predict", "scans", "empty", "-"]
    result = subprocess.run(command, input=encode(seven), capture_output=True, timeout=120)
    lines = [line.split()[:2] for line in result.stdout.decode().splitlines()]
    assert lines == [["scans/b.PNG", "7"], ["scans/deep/a.jpg", "7"], ["-", "7"]]
    assert result.returncode == 2
    assert result.stderr.decode().startswith("error: empty: ")
    assert result.stderr.count(b"\n") == 1


def test_more_pictures_than_a_batch_come_in_their_order(run: Run, seven: Image.Image, encode) -> None:
    one = np.full((40, 40), 255, np.uint8)
    one[8:32, 19:22] = 0
    pictures = [encode(seven), encode(one)]
    names = [f"{i:03}.png" for i in range(70)]
    for i, name in enumerate(names):
        Path(name).write_bytes(pictures[i % 3 == 0])
    result = run("predict", ".", "--json")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(answer["file"], answer["digit"]) for answer in answers] == [
        (name, 1 if i % 3 == 0 else 7) for i, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["predict"], "error: Missing argument 'pictures'; see inkling predict --help"),
        (["predict", "--jsn", "x"], "error: No such option: --jsn"),
        (["nonsense"], "error: No such command 'nonsense'; see inkling --help"),
        (
            ["train", "--recipe", "slow"],
            "'slow' is not a recipe; expected one of tutorial, default, long, net, teacher, long-teacher, quick",
        ),
        (["evaluate", "--pictures", "0"], "error: Invalid value for '--pictures'"),
        (["retrain", "--activate", "never"], "'never' is not one of 'auto', 'manual'; see inkling retrain --help"),
        (["feedback", "send", "12", "a.png"], "error: Invalid value for 'label'"),
        (["models", "activate"], "error: Missing argument 'version'; see inkling models activate --help"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(run: Run, arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--help"], ["models"], ["backup", "monday.tar"], ["retrain", "--help"]])
def test_what_needs_no_network_imports_none(arguments: list[str]) -> None:
    version = Path("state/models/v1")
    version.mkdir(parents=True)
    (version / "manifest.json").write_text('{"network": "net"}')
    (version.parent / "active").write_text("v1\n")
    script = (
        "import sys\nfrom app.cli import command_line\n"
        f"try: command_line.app({arguments})\nfinally: print('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("False\n")


def test_help_names_the_commands(run: Run) -> None:
    shown = run("--help").stdout
    for word in ("serve", "train", "evaluate", "predict", "models", "retrain", "feedback"):
        assert word in shown


def test_each_command_has_help_with_an_example(run: Run) -> None:
    for command in ("serve", "train", "evaluate", "predict", "models", "retrain", "feedback"):
        result = run(command, "--help")
        assert result.returncode == 0
        assert "Example: " in result.stdout
        assert f"inkling {command}" in result.stdout
