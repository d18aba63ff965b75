import json

import pytest
from pydantic import ValidationError

from training.retraining.events import JobProgress, JobReport, emit, log


def events(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_json_object_on_a_line_and_the_log_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    emit(state="evaluating", progress=1.0)
    log("a line")
    first, second = capsys.readouterr().out.splitlines()
    assert (json.loads(first), second) == ({"state": "evaluating", "progress": 1.0}, "a line")


def test_progress_is_reported_once_a_second_with_mean_metrics_and_always_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1.0, 1.0, 1.5, 2.5, 2.5, 2.6, 2.6])
    monkeypatch.setattr("training.retraining.events.monotonic", lambda: next(times))
    progress = JobProgress(2)
    progress.advance(1, 0.25, 4.0, 0.25)
    progress.advance(1, 0.5, 3.0, 0.25)
    progress.advance(2, 0.75, 2.0, 0.75)
    progress.advance(2, 1.0, 1.0, 1.0)
    assert events(capsys) == [
        {"epoch": 1, "epochs": 2, "progress": 0.25, "metrics": {"loss": 4.0, "accuracy": 0.25}},
        {"epoch": 2, "epochs": 2, "progress": 0.75, "metrics": {"loss": 2.5, "accuracy": 0.5}},
        {"epoch": 2, "epochs": 2, "progress": 1.0, "metrics": {"loss": 1.0, "accuracy": 1.0}},
    ]


def test_the_bars_of_the_training_loop_count_as_progress_of_the_job(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(range(10, 1000, 10))
    monkeypatch.setattr("training.retraining.events.monotonic", lambda: next(times))
    report = JobReport(2, 250)
    for title, total in (("drawing outliers", 50), ("epoch 1/2", 100), ("epoch 2/2", 100)):
        with report.bar(title, total) as bar:
            bar.advance(total // 2)
            bar.update(title=title)
            bar.advance(total // 2)
    report.scores(0.25, 0.75)
    *progress, scores = events(capsys)
    assert [(one["epoch"], one["progress"]) for one in progress] == [
        *((1, 0.1), (1, 0.2)),
        *((1, 0.4), (1, 0.6)),
        *((2, 0.8), (2, 1.0)),
    ]
    assert {one["epochs"] for one in progress} == {2}
    assert scores == {"metrics": {"loss": 0.25, "accuracy": 0.75}}


def test_a_loss_that_is_not_finite_is_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    emit(metrics={"loss": float("nan")})
    assert events(capsys) == [{"metrics": {"loss": None}}]


def test_an_event_with_a_field_that_no_job_has_is_refused() -> None:
    with pytest.raises(ValidationError):
        emit(speed=1)
