from collections.abc import Callable

import pytest

from tests.support.terminal import shown_on_terminal
from tests.support.waiting import wait_until
from training import progress
from training.progress import Bar, Report


def work(ready: Callable[[Bar], bool], quiet: bool = False) -> None:
    with Bar("reading", 10, "pictures", quiet) as bar:
        bar.print("first")
        bar.advance(5)
        wait_until(lambda: ready(bar))
        bar.update(title="writing")
        bar.print("second")


def epoch(ready: Callable[[Bar], bool], quiet: bool = False) -> None:
    report = Report(quiet)
    with report.bar("epoch 1/2", 100) as bar:
        bar.advance(60)
        wait_until(lambda: ready(bar))
        report.line("loss [0.5]")


def is_drawn(bar: Bar) -> bool:
    return bar._progress is not None and bar._progress.live.is_started


def at_once(_: Bar) -> bool:
    return True


def test_a_bar_with_its_rate_is_drawn_once_work_takes_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 1000)
    assert shown_on_terminal(lambda: work(at_once)) == "first\r\nsecond\r\n"
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    shown = shown_on_terminal(lambda: work(is_drawn))
    for expected in ("writing", "pictures/s", "second\r\n"):
        assert expected in shown


def test_a_report_prints_its_lines_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    shown = shown_on_terminal(lambda: epoch(is_drawn))
    for expected in ("epoch 1/2", "images/s", "loss [0.5]\r\n"):
        assert expected in shown


def test_a_pipe_gets_plain_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    work(at_once)
    epoch(at_once)
    assert capsys.readouterr() == ("first\nsecond\nloss [0.5]\n", "")


def test_quiet_draws_no_bar_and_a_quiet_report_says_nothing() -> None:
    assert shown_on_terminal(lambda: work(at_once, quiet=True)) == "first\r\nsecond\r\n"
    assert shown_on_terminal(lambda: epoch(at_once, quiet=True)) == ""
