import asyncio
import inspect
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import sqlalchemy as sa
from fastapi import APIRouter
from fastapi.routing import APIRoute

from app.observability.logs import request_id
from app.settings import Settings
from app.storage import database as database_module
from app.storage.database import DatabaseUnavailable, url_of
from app.storage.threads import BlockingCalls
from models.errors import Overloaded
from tests.support.service import KEY, WITH_KEY, Server, check_problem, serving
from tests.support.waiting import wait_until


def calls(*, count: int = 1, limit: int = 3, seconds: float = 60) -> BlockingCalls:
    return BlockingCalls("database", count=count, limit=limit, seconds=seconds, unavailable=DatabaseUnavailable)


def test_calls_beyond_the_limit_are_refused_until_another_one_ends() -> None:
    gate, running = threading.Event(), calls()

    async def run() -> list[bool]:
        waiting = [asyncio.create_task(running.run(gate.wait, timeout=60)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await running.run(gate.wait)
        assert caught.value.members == {"limit": 3}
        gate.set()
        return [*await asyncio.gather(*waiting), await running.run(gate.is_set)]

    assert asyncio.run(run()) == [True] * 4
    running.close()


def test_a_call_that_takes_too_long_goes_on_and_keeps_its_place_and_those_behind_it_never_begin() -> None:
    gate, begun, running = threading.Event(), [], calls(limit=2, seconds=0.1)

    def call(number: int) -> None:
        begun.append(number)
        gate.wait(60)

    async def run() -> None:
        outcomes = await asyncio.gather(running.run(call, 1), running.run(call, 2), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [DatabaseUnavailable] * 2
        later = asyncio.create_task(running.run(call, 3))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await running.run(call, 4)
        with pytest.raises(DatabaseUnavailable):
            await later
        assert begun == [1]
        gate.set()
        running.seconds = 60
        await running.run(call, 5)

    asyncio.run(run())
    assert begun == [1, 5]
    running.close()


def test_an_error_of_the_call_reaches_the_caller_also_a_timeout() -> None:
    running = calls()

    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        asyncio.run(running.run(fail))
    running.close()


def test_what_a_call_logs_has_the_id_of_its_request() -> None:
    running = calls()

    async def run() -> str | None:
        request_id.set("request 7")
        return await running.run(request_id.get)

    assert asyncio.run(run()) == "request 7"
    running.close()


def test_no_route_and_no_dependency_shares_threads_with_all_others(server: Server) -> None:
    """FastAPI runs a plain function in the threads of AnyIO, which all plain functions share."""
    assert server.app is not None
    routes = list(server.app.routes)
    pending = []
    for route in routes:
        routes += getattr(route, "original_router", APIRouter()).routes
        if isinstance(route, APIRoute):
            pending.append(route.dependant)
    assert len(pending) > 10
    while pending:
        dependant = pending.pop()
        call = dependant.call if inspect.isroutine(dependant.call) else dependant.call.__call__
        assert inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call), call
        pending += dependant.dependencies


@contextmanager
def locked(settings: Settings) -> Iterator[None]:
    """A transaction that other writers, and on PostgreSQL readers as well, have to wait for."""
    url = url_of(settings)
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database))
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.close()
        return
    engine = sa.create_engine(url)
    with engine.begin() as other:
        other.execute(sa.text("LOCK TABLE feedback, jobs, lock IN ACCESS EXCLUSIVE MODE"))
        yield
    engine.dispose()


@pytest.mark.processes
def test_requests_that_wait_for_the_database_make_no_others_wait(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seven, encode
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 60)
    settings = Settings(home=tmp_path / "home", database_url=database_url, api_key=KEY)
    picture, large = encode(seven.resize((28, 28))), encode(seven.resize((900, 900)), "BMP")

    def post() -> int:
        return httpx.post(f"{server.url}/feedback", **feedback, headers=WITH_KEY, timeout=120).status_code

    with serving(settings) as server, ThreadPoolExecutor(64) as pool:
        writes = server.app.state.threads.writes
        writes.seconds = 120
        feedback = {"files": {"file": picture}, "data": {"label": "7"}}
        with locked(settings):
            waiting = [pool.submit(post) for _ in range(64)]
            wait_until(lambda: writes._free._value == 0)
            refused = server.client.post("/feedback", content=b"refused unread", headers=WITH_KEY)
            assert check_problem(refused, 503, "overloaded")["limit"] == 64
            assert refused.headers["retry-after"]
            for path in ("/health", "/health/live", "/health/ready", "/metrics", "/models", "/models/v1", "/"):
                assert server.client.get(path).status_code == 200, path
            assert server.client.post("/models/v1/activate", headers=WITH_KEY).status_code == 200
            for path in ("/predict", "/page/tile"):
                for sent in (picture, large):
                    assert server.client.post(path, content=sent).status_code == 200, path
            assert server.client.post("/predict", files={"file": large}).status_code == 200
            assert not any(one.done() for one in waiting)
        statuses = [one.result(120) for one in waiting]
    assert sorted(statuses) == [200] * 63 + [201]


def test_a_request_that_waits_too_long_for_the_database_is_refused(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seven, encode
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 1)
    settings = Settings(home=tmp_path / "home", database_url=database_url, api_key=KEY)
    with serving(settings) as server:
        server.client.headers.update(WITH_KEY)
        feedback = {"files": {"file": encode(seven)}, "data": {"label": "7"}}
        with locked(settings):
            for answer in (server.client.post("/feedback", **feedback), server.client.post("/retrain")):
                check_problem(answer, 503, "database-unavailable")
                assert answer.headers["retry-after"]
        assert server.client.post("/feedback", **feedback).status_code == 201
        assert server.client.post("/retrain").status_code == 202


def test_metrics_wait_for_no_other_read_of_the_saved_versions(tmp_path: Path) -> None:
    gate = threading.Event()
    with serving(Settings(home=tmp_path / "home")) as server:
        versions = server.app.state.threads.versions
        waiting = [versions._threads.submit(gate.wait) for _ in range(8)]
        try:
            assert "inkling_active_version 1.0" in server.client.get("/metrics").text
        finally:
            gate.set()
        assert all(one.result() for one in waiting)


@pytest.mark.services
def test_a_postgresql_that_stands_still_makes_no_request_hang(postgres: str, tmp_path: Path, seven, encode) -> None:
    data = Path(str(sa.make_url(postgres).query["host"])) / "data"
    server_process = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
    settings = Settings(home=tmp_path / "home", database_url=postgres, api_key=KEY)
    with serving(settings) as server:
        server.client.headers.update(WITH_KEY)
        threads = server.app.state.threads
        threads.reads.seconds = threads.writes.seconds = 0.5
        feedback = {"files": {"file": encode(seven)}, "data": {"label": "7"}}
        assert server.client.get("/retrain").status_code == 200
        stopped = [server_process, *server_process.children(recursive=True)]
        for process in stopped:
            process.suspend()
        try:
            for answer in (server.client.post("/feedback", **feedback), server.client.get("/retrain")):
                check_problem(answer, 503, "database-unavailable")
            assert "inkling_database_up 0" in server.client.get("/metrics").text
            for path in ("/health/ready", "/models", "/"):
                assert server.client.get(path).status_code == 200
        finally:
            for process in stopped:
                process.resume()
        threads.reads.seconds = threads.writes.seconds = 60
        assert server.client.post("/feedback", **feedback).status_code in (200, 201)
        assert server.client.get("/feedback").json()["total"] == 1
