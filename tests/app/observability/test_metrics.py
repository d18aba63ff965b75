import logging
from pathlib import Path

import pytest

from app.observability.metrics import Metrics, WorkerState
from app.observability.multiprocess import MultiprocessStore
from models.inference.predictor import Prediction

STATE = WorkerState("v1", "cpu", "torch", True, 3, 256, 0)


def value(metrics: Metrics, name: str, state: WorkerState = STATE, **labels: str) -> float:
    [found] = [
        sample.value
        for metric in metrics.collect(state)
        for sample in metric.samples
        if sample.name == name and sample.labels == labels
    ]
    return found


def read(metrics: Metrics, count: int) -> None:
    for _ in range(count):
        metrics.request("POST", "/predict", 200, 0.003)
        metrics.decoded(0.0002)
        metrics.prediction(Prediction(7, 0.97, (0.0,) * 10, "digit", "v1"))
    metrics.batch([0.001] * count, 0.02)


def test_any_worker_answers_for_all_and_a_successor_continues_the_counts(tmp_path: Path) -> None:
    workers = [Metrics(MultiprocessStore(tmp_path, worker), ["overloaded"]) for worker in (0, 1)]
    read(workers[0], 3)
    read(workers[1], 4)
    workers[0].refusal("overloaded")
    workers[0].publish(STATE)
    named = {"method": "POST", "route": "/predict", "status": "200"}
    assert value(workers[1], "inkling_requests_total", **named) == 7
    assert value(workers[1], "inkling_predictions_total", digit="7", verdict="digit") == 7
    assert value(workers[1], "inkling_stage_duration_seconds_count", stage="queue") == 7
    assert value(workers[1], "inkling_stage_duration_seconds_count", stage="forward") == 2
    assert value(workers[1], "inkling_batch_images_sum") == 7
    assert value(workers[1], "inkling_confidence_ratio_bucket", le="0.95") == 0
    assert value(workers[1], "inkling_confidence_ratio_bucket", le="0.99") == 7
    assert value(workers[1], "inkling_refusals_total", reason="overloaded") == 1
    assert value(workers[1], "inkling_workers") == 2
    assert value(workers[1], "inkling_queue_images", worker="0") == 3

    MultiprocessStore(tmp_path, 0).clear("state")
    assert value(workers[1], "inkling_workers") == 1
    assert value(workers[1], "inkling_requests_total", **named) == 7
    successor = Metrics(MultiprocessStore(tmp_path, 0), ["overloaded"])
    read(successor, 1)
    assert value(successor, "inkling_requests_total", **named) == 8
    assert value(successor, "inkling_worker_starts_total", worker="0") == 2
    assert value(successor, "inkling_worker_starts_total", worker="1") == 1


def test_dropped_images_are_counted_once(tmp_path: Path) -> None:
    metrics = Metrics(MultiprocessStore(tmp_path, 0), [])
    for dropped in (0, 2, 2, 5):
        state = WorkerState("v1", "cpu", "torch", True, 0, 256, dropped)
        assert value(metrics, "inkling_dropped_images_total", state) == dropped


def test_a_full_disk_is_logged_once_and_counting_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics(MultiprocessStore(tmp_path / "gone" / "metrics", 0), [])
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            read(metrics, 1)
            metrics.publish(STATE)
    assert [record.getMessage()[:46] for record in caplog.records] == ["cannot share this worker's metrics with the ot"]
    assert value(metrics, "inkling_batch_images_count") == 3
