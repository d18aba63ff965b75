import os
import pty
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from training.progress import Report
report = Report(quiet={quiet})
with report.bar("epoch 1/2", 100) as bar:
    bar.advance(60)
    report.line("loss [0.5]")
    bar.advance(40)
"""
ROOT = Path(__file__).parents[2]


def script(quiet: bool = False) -> list[str]:
    return [sys.executable, "-c", SCRIPT.format(quiet=quiet)]


def test_a_pipe_gets_plain_lines() -> None:
    result = subprocess.run(script(), capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == "loss [0.5]\n"


def test_quiet_says_nothing() -> None:
    result = subprocess.run(script(quiet=True), capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout == ""


def test_a_terminal_gets_a_bar_with_rate_and_time() -> None:
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(script(), stdout=terminal, stderr=terminal, env=environment, cwd=ROOT) as process:
        os.close(terminal)
        shown = b""
        while chunk := _read(controller):
            shown += chunk
        assert process.wait(30) == 0
    os.close(controller)
    assert b"epoch 1/2" in shown
    assert b"images/s" in shown
    assert b"loss [0.5]" in shown


def _read(controller: int) -> bytes:
    try:
        return os.read(controller, 4096)
    except OSError:  # Linux says so once the other side is closed
        return b""
