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


def test_progress_is_told_seldom_with_the_means_since_then_and_its_end_always(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1.0, 1.0, 1.5, 2.5, 2.5, 2.6, 2.6])
    monkeypatch.setattr("training.retraining.news.monotonic", lambda: next(times))
    progress = JobProgress(2)
    progress.advance(1, 0.25, 4.0, 0.25)
    progress.advance(1, 0.5, 3.0, 0.25)
    progress.advance(2, 0.75, 2.0, 0.75)
    progress.advance(2, 1.0, 1.0, 1.0)
    assert news(capsys) == [
        {"epoch": 1, "epochs": 2, "progress": 0.25, "metrics": {"loss": 4.0, "accuracy": 0.25}},
        {"epoch": 2, "epochs": 2, "progress": 0.75, "metrics": {"loss": 2.5, "accuracy": 0.5}},
        {"epoch": 2, "epochs": 2, "progress": 1.0, "metrics": {"loss": 1.0, "accuracy": 1.0}},
    ]


def test_the_bars_of_the_ordinary_loop_are_the_epochs_of_the_job(capsys: pytest.CaptureFixture[str]) -> None:
    report = JobReport(2)
    for title in ("epoch 1/2", "epoch 2/2"):
        with report.bar(title, 100) as bar:
            bar.advance(60)
            bar.retitle(title)
            bar.advance(40)
        report.scores(0.25, 0.75)
    *_, last, scores = news(capsys)
    assert last == {"epoch": 2, "epochs": 2, "progress": 1.0}
    assert scores == {"metrics": {"loss": 0.25, "accuracy": 0.75}}
