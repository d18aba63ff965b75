import json

import pytest

from training.retraining.events import JobProgress, JobReport, log, tell


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
    monkeypatch.setattr("training.retraining.events.monotonic", lambda: next(times))
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


def test_whatever_the_bars_of_the_ordinary_loop_count_is_the_progress_of_the_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10, 1000, 10))
    monkeypatch.setattr("training.retraining.events.monotonic", lambda: next(times))
    report = JobReport(2, 250)
    for title, total in (("drawing what is no digit", 50), ("epoch 1/2", 100), ("epoch 2/2", 100)):
        with report.bar(title, total) as bar:
            bar.advance(total // 2)
            bar.retitle(title)
            bar.advance(total // 2)
    report.scores(0.25, 0.75)
    *told, scores = news(capsys)
    assert [(one["epoch"], one["progress"]) for one in told] == [
        *((1, 0.1), (1, 0.2)),
        *((1, 0.4), (1, 0.6)),
        *((2, 0.8), (2, 1.0)),
    ]
    assert {one["epochs"] for one in told} == {2}
    assert scores == {"metrics": {"loss": 0.25, "accuracy": 0.75}}
