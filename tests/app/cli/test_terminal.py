"""On a real terminal, which a pipe is not: a pseudo-terminal of this machine."""

import contextlib
import os
import pty
import sys
from collections.abc import Callable

import pytest

from app.cli import terminal
from tests.support.waiting import wait_until

OnTerminal = Callable[[Callable[[], None]], str]


@pytest.fixture
def on_terminal() -> OnTerminal:
    """Runs what prints, with a terminal as its standard output, and gives back what came to the terminal."""

    def run(show: Callable[[], None]) -> str:
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "w", encoding="utf-8") as screen, pytest.MonkeyPatch.context() as patch:
            patch.setenv("TERM", "xterm")
            for name in ("NO_COLOR", "CI"):
                patch.delenv(name, raising=False)
            patch.setattr(sys, "stdout", screen)
            show()
        found = b""
        with contextlib.suppress(OSError):  # how a pseudo-terminal says that its other end is closed
            while part := os.read(ours, 65_536):
                found += part
        os.close(ours)
        return found.decode()

    return run


def rows() -> None:
    terminal.print_rows(["digit", "how many"], [["1", "1,000"], ["[red]", ""]])


def test_rows_are_a_table_for_a_person_and_plain_columns_in_a_pipe(
    on_terminal: OnTerminal, capsys: pytest.CaptureFixture[str]
) -> None:
    rows()
    assert capsys.readouterr().out == "digit  how many\n1      1,000\n[red]\n"
    shown = on_terminal(rows)
    assert "┃" in shown
    assert "[red]" in shown


def work(seen: Callable[[terminal.Bar], bool], quiet: bool = False) -> None:
    with terminal.Bar("reading", 10, "pictures", quiet) as bar:
        bar.print("first")
        bar.advance(5)
        wait_until(lambda: seen(bar))
        bar.print("second")


def is_drawn(bar: terminal.Bar) -> bool:
    return bar._progress.live.is_started


def test_a_bar_comes_where_it_takes_longer(on_terminal: OnTerminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "DELAY_SECONDS", 1000)
    assert on_terminal(lambda: work(lambda _: True)) == "first\r\nsecond\r\n"
    monkeypatch.setattr(terminal, "DELAY_SECONDS", 0)
    shown = on_terminal(lambda: work(is_drawn))
    assert "reading" in shown
    assert "pictures/s" in shown
    assert "second\r\n" in shown
    assert on_terminal(lambda: work(lambda _: True, quiet=True)) == "first\r\nsecond\r\n"


def test_a_pipe_gets_lines_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(terminal, "DELAY_SECONDS", 0)
    with terminal.Bar("reading", 10, "pictures") as bar:
        bar.advance(5)
        bar.print("line")
    assert capsys.readouterr() == ("line\n", "")
