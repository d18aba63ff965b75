import os
import signal
import threading

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from app.settings import Settings
from models.errors import InferenceFailed
from tests.support.processes import workers
from tests.support.service import Server, running
from tests.support.waiting import wait_until

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


def scrape(server: Server) -> Samples:
    """The metrics of the worker that accepts the connection."""
    answer = httpx.get(f"{server.url}/metrics", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for (found, given), value in samples.items() if found == name and labels.items() <= set(given))


def workers_of(samples: Samples, name: str) -> set[str]:
    return {dict(labels)["worker"] for found, labels in samples if found == name}


def post_from_both(server: Server, picture: bytes) -> int:
    """Sends predictions until both workers have answered some; returns how many."""
    workers: set[str] = set()
    sent: list[int] = []

    def post() -> None:
        while len(workers) < 2:
            answer = httpx.post(f"{server.url}/predict", content=picture, timeout=30)
            assert answer.status_code == 200
            workers.add(answer.headers["x-request-id"].partition("-")[0])
            sent.append(1)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(sent)


@pytest.mark.processes
def test_counts_add_up_over_workers_and_survive_the_kill_of_one(two_workers: Server, seven, encode) -> None:
    picture = encode(seven)
    labels = {"method": "POST", "route": "/predict", "status": "200"}
    before = scrape(two_workers)
    wait_until(lambda: total(scrape(two_workers), "inkling_workers") == 2)
    sent = post_from_both(two_workers, picture)

    def counted(name: str, **labels: str) -> float:
        return total(scrape(two_workers), name, **labels) - total(before, name, **labels)

    wait_until(lambda: counted("inkling_requests_total", **labels) == sent)
    assert counted("inkling_predictions_total", digit="7", verdict="digit") == sent
    assert counted("inkling_batch_images_sum") == sent
    assert counted("inkling_confidence_ratio_count") == sent
    assert counted("inkling_request_duration_seconds_count", route="/predict") == sent
    for stage in ("decode", "queue"):
        assert counted("inkling_stage_duration_seconds_count", stage=stage) == sent

    state = scrape(two_workers)
    assert workers_of(state, "inkling_queue_images") == {"0", "1"}
    starts = total(state, "inkling_worker_starts_total")
    seen: list[float] = []
    gauges: list[set[str]] = []
    assert two_workers.process is not None
    os.kill(workers(two_workers.process.pid)[0], signal.SIGKILL)

    def replaced() -> bool:
        try:
            found = scrape(two_workers)
        except httpx.TransportError:  # it was that worker's connection
            return False
        seen.append(total(found, "inkling_requests_total", **labels))
        gauges.append(workers_of(found, "inkling_queue_images"))
        return total(found, "inkling_worker_starts_total") == starts + 1 and len(gauges[-1]) == 2

    wait_until(replaced)
    assert seen == sorted(seen)
    assert seen[0] >= total(state, "inkling_requests_total", **labels)
    assert any(len(workers) == 1 for workers in gauges), "the killed worker's gauges never went"


@pytest.mark.processes
def test_counters_never_decrease_whichever_worker_is_scraped(two_workers: Server, seven, encode) -> None:
    picture, done = encode(seven), threading.Event()

    def post() -> None:
        while not done.is_set():
            httpx.post(f"{two_workers.url}/predict", content=picture, timeout=30)

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    last: Samples = {}
    try:
        for _ in range(25):
            found = scrape(two_workers)
            counters = {key: value for key, value in found.items() if key[0].endswith(("_total", "_bucket", "_count"))}
            assert all(counters[key] >= value for key, value in last.items())
            last = counters
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_both_formats_contain_the_same_metrics(server: Server) -> None:
    plain = server.client.get("/metrics")
    other = server.client.get("/metrics", headers=OPENMETRICS)
    assert other.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in text_string_to_metric_families(plain.text)}
    assert {family.name for family in openmetrics(other.text)} == names
    assert len(names) > 15


def test_metrics_show_the_state_of_the_service(tmp_path, monkeypatch, seven, encode) -> None:
    with running(Settings(home=tmp_path / "home", max_feedback=9, max_concurrent_images=5)) as found:
        state = scrape(found)
        assert total(state, "inkling_active_version") == 1
        assert (total(state, "inkling_feedback_images"), total(state, "inkling_feedback_limit_images")) == (0, 9)
        assert (total(state, "inkling_queue_limit_images"), total(state, "inkling_database_up")) == (5, 1)
        assert {dict(labels)["state"] for name, labels in state if name == "inkling_jobs"} == {
            *("queued", "running", "evaluating", "succeeded", "rejected", "failed", "cancelled")
        }
        with found.full():
            state = scrape(found)
            assert total(state, "inkling_queue_images", worker="0") == 5
            assert found.client.post("/predict", content=encode(seven)).status_code == 503
            batch = found.client.post("/predict/batch", files=[("files", b"no picture"), ("files", b"")])
            assert batch.status_code == 503
        assert total(scrape(found), "inkling_refusals_total", reason="overloaded") == 2
        files = [("files", b"no picture"), ("files", b""), ("files", encode(seven))]
        assert found.client.post("/predict/batch", files=files).status_code == 200
        state = scrape(found)
        assert total(state, "inkling_refusals_total", reason="unknown-format") == 1
        assert total(state, "inkling_refusals_total", reason="empty-body") == 1
        assert total(state, "inkling_predictions_total") == 1

        predictor = found.app.state.inference.batcher.predictor
        whole = predictor.predict

        def fail(_: object) -> list:
            raise InferenceFailed("the device is gone")

        monkeypatch.setattr(predictor, "predict", fail)
        assert found.client.post("/predict", content=encode(seven)).status_code == 503
        assert total(scrape(found), "inkling_worker_ready", worker="0") == 0
        monkeypatch.setattr(predictor, "predict", whole)
        assert found.client.get("/health/ready").status_code == 200
        assert total(scrape(found), "inkling_worker_ready", worker="0") == 1

        (tmp_path / "home" / "inkling.db").rename(tmp_path / "elsewhere.db")
        (tmp_path / "home" / "inkling.db").mkdir()
        (tmp_path / "home" / "models" / "active").write_text("nonsense")
        found.app.state.jobs._database.close()  # its connections know the file by another name
        state = scrape(found)
        assert total(state, "inkling_database_up") == 0
        named = {name for name, _ in state}
        assert not named & {"inkling_jobs", "inkling_feedback_images", "inkling_active_version"}
