"""Many event streams over one poller."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from app.api import job_events
from app.storage.database import DatabaseUnavailable
from app.storage.jobs import Job
from tests.support.service import Server, check_problem
from tests.support.waiting import wait_until

STREAMS = 50


def states(url: str, opened: threading.Semaphore) -> list[str]:
    """All states that one stream sends."""
    found = []
    with httpx.stream("GET", url, timeout=60) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line.removeprefix("data: "))["state"])
                opened.release()
    return found


@pytest.mark.processes
def test_50_streams_of_2_jobs_cost_one_query_at_a_time(idle: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = idle.app.state.jobs
    first = jobs.submit({})
    jobs.finish(first.id, "failed", "for a second job")
    second = jobs.submit({})
    queries: list[int] = []
    running = threading.Lock()
    find = jobs.find

    def counted(names: set[str]) -> list[Job]:
        assert running.acquire(blocking=False), "two queries at a time"
        queries.append(len(names))
        try:
            return find(names)
        finally:
            running.release()

    monkeypatch.setattr(jobs, "find", counted)
    opened = threading.Semaphore(0)
    with ThreadPoolExecutor(STREAMS) as pool:
        url = f"{idle.url}/retrain/{second.id}/events"
        streams = [pool.submit(states, url, opened) for _ in range(STREAMS)]
        for _ in range(STREAMS):
            assert opened.acquire(timeout=60)
        before = len(queries)
        wait_until(lambda: len(queries) >= before + 4)
        jobs.update(second.id, state="running")
        for _ in range(STREAMS):
            assert opened.acquire(timeout=60)
        jobs.finish(second.id, "succeeded", None)
        assert [stream.result(60) for stream in streams] == [["queued", "running", "succeeded"]] * STREAMS
    assert set(queries) == {1}, "50 streams of one job ask for one job"
    wait_until(lambda: idle.app.state.job_events._poller.done())
    ended = len(queries)
    with httpx.stream("GET", f"{idle.url}/retrain/{first.id}/events", timeout=30) as answer:
        assert b'"failed"' in answer.read()
    wait_until(lambda: idle.app.state.job_events._poller.done())
    assert len(queries) <= ended + 1, "nobody listens, nobody asks"


def test_a_stream_too_many_is_503_and_makes_room_when_another_one_ends(
    idle: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_events, "MAX_STREAMS", 2)
    job = idle.app.state.jobs.submit({})
    path = f"/retrain/{job.id}/events"
    with ExitStack() as streams:
        for _ in range(2):
            streams.enter_context(httpx.stream("GET", f"{idle.url}{path}", timeout=30))
        assert check_problem(idle.client.get(path), 503, "overloaded")["limit"] == 2

    def opens() -> bool:
        with httpx.stream("GET", f"{idle.url}{path}", timeout=30) as answer:
            return answer.status_code == 200

    wait_until(opens)


def test_a_stream_outlives_a_database_that_does_not_answer(idle: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = idle.app.state.jobs
    job = jobs.submit({})
    failures: list[None] = []
    find = jobs.find

    def failing(names: set[str]) -> list[Job]:
        failures.append(None)
        if len(failures) <= 2:
            raise DatabaseUnavailable("the database does not answer")
        return find(names)

    monkeypatch.setattr(jobs, "find", failing)
    opened = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as pool:
        stream = pool.submit(states, f"{idle.url}/retrain/{job.id}/events", opened)
        wait_until(lambda: len(failures) >= 2)
        jobs.finish(job.id, "failed", "as it had to")
        assert stream.result(60) == ["queued", "failed"]
