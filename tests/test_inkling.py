import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.conftest import ROOT, Server

Run = Callable[..., subprocess.CompletedProcess[str]]


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
    assert errors[1].startswith("error: words.png: the bytes are text; we read PNG")
    assert len(errors) == 2
    assert result.stdout.startswith("seven.png  7  ")


def test_help_names_the_commands_and_imports_nothing_heavy() -> None:
    script = "import sys, inkling\ntry: inkling.app(['--help'])\nfinally: print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    for word in ("serve", "train", "predict", "models", "retrain", "feedback"):
        assert word in result.stdout
    assert result.stdout.endswith("False\n")


def test_each_command_has_help_with_an_example(run: Run) -> None:
    for command in ("serve", "train", "predict", "models", "retrain", "feedback"):
        result = run(command, "--help")
        assert result.returncode == 0
        assert "Example: " in result.stdout
        assert f"inkling {command}" in result.stdout
