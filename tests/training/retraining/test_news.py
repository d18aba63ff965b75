import json

import pytest

from training.retraining.news import JobProgress, JobReport, log, tell


def news(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_news_are_one_object_a_line_and_the_log_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    tell(state="evaluating", progress=1.0)
    log("a line")
    first, second = capsys.readouterr().out.splitlines()
    assert (json.loads(first), second) == ({"state": "evaluating", "progress": 1.0}, "a line")


def test_progress_is_told_seldom_but_its_end_always(capsys: pytest.CaptureFixture[str]) -> None:
    progress = JobProgress(2)
    for step in range(1, 101):
        progress.advance(1 + step // 51, step / 100, 0.5)
    told = news(capsys)
    assert told[0] == {"epoch": 1, "epochs": 2, "progress": 0.01, "metrics": {"loss": 0.5}}
    assert told[-1] == {"epoch": 2, "epochs": 2, "progress": 1.0, "metrics": {"loss": 0.5}}
    assert len(told) < 10


def test_the_bars_of_the_ordinary_loop_are_the_epochs_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    report = JobReport(2)
    for title in ("epoch 1/2", "epoch 2/2"):
        with report.bar(title, 100) as bar:
            bar.advance(60)
            bar.retitle(title)
            bar.advance(40)
    assert news(capsys)[-1] == {"epoch": 2, "epochs": 2, "progress": 1.0}
