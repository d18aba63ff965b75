"""What others notice while the database or HOME fails."""

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from app.settings import Settings
from app.storage.database import Database
from app.storage.jobs import JobOwner, Jobs
from benchmarks import pictures
from benchmarks.bounds.setting import Setting
from benchmarks.machine import BenchmarkError, say
from benchmarks.servers import KEY, Server
from benchmarks.tables import Target
from models import fs

CORRECTIONS, STREAMS, REFUSALS = 100, 20, 50


def locked(setting: Setting) -> list[Target]:
    """Another process holds SQLite's lock while more corrections arrive than may wait."""
    with setting.inkling("locked") as server:
        server.wait_ready()
        say(f"{CORRECTIONS} corrections while SQLite is locked")
        with (
            _lock(_home(setting, "locked") / "inkling.db"),
            httpx.Client(base_url=server.url, limits=httpx.Limits(max_connections=CORRECTIONS), timeout=60) as client,
            ThreadPoolExecutor(CORRECTIONS) as pool,
        ):
            waiting = [pool.submit(_correct, client) for _ in range(CORRECTIONS)]
            paths = ("/health/ready", "/models", "/metrics", "/retrain", "/")
            others = [_seconds(lambda path=path: server.ask(path).raise_for_status()) for path in 3 * paths]
            others += [_seconds(lambda: server.ask("/predict", pictures.multipart(pictures.tile()))) for _ in range(3)]
            if all(correction.done() for correction in waiting):
                raise BenchmarkError("no correction waited for the lock")
            corrections = [correction.result() for correction in waiting]
    fair = sum(answer.status_code == 503 and "retry-after" in answer.headers for answer in corrections)
    longest = max(answer.elapsed.total_seconds() for answer in corrections)
    name = f"SQLite is locked and {CORRECTIONS} corrections arrive"
    return [
        Target(f"{name}: longest answer to anything else, s", 0.5, None, [max(others)], True),
        Target(f"{name}: longest wait of a correction, s", 10.5, None, [longest], True),
        Target(f"{name}: those not answered by 503 with Retry-After", 0, None, [CORRECTIONS - fair], True, "{:.0f}"),
    ]


def workerless(setting: Setting) -> list[Target]:
    """HOME is away, and the worker has been killed."""
    home, away = _home(setting, "workerless"), setting.folder / "away"
    with setting.inkling("workerless") as server:
        server.wait_ready()
        home.rename(away)
        _worker(server).kill()
        _until(lambda: _status(server) == 503)
        say("asking a service none of whose workers can start")
        refused = [_seconds(lambda: _status(server)) for _ in range(REFUSALS)]
        away.rename(home)
        back = _seconds(lambda: _until(lambda: _status(server) == 200))
    note = f"ready {back:.1f} s after HOME was back"
    return [Target("no worker can start: longest wait for a refusal, s", 0.2, None, [max(refused)], True, note=note)]


def streams(setting: Setting) -> list[Target]:
    """SIGTERM while clients follow a job."""
    with setting.inkling("streams") as server, contextlib.ExitStack() as stack:
        server.wait_ready()
        job = stack.enter_context(_running_job(_home(setting, "streams")))
        url = f"{server.url}/retrain/{job}/events"
        for _ in range(STREAMS):
            answer = stack.enter_context(httpx.stream("GET", url, timeout=60))
            next(answer.iter_lines())
        say(f"SIGTERM while {STREAMS} clients follow a job")
        server.process.send_signal(signal.SIGTERM)
        seconds = _seconds(lambda: server.process.wait(60))
    return [Target(f"SIGTERM while {STREAMS} clients follow a job: end of the service, s", 3, None, [seconds], True)]


def _home(setting: Setting, name: str) -> Path:
    return setting.folder / f"home-{name}"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


@contextlib.contextmanager
def _running_job(home: Path) -> Iterator[str]:
    """A job that this process runs, or seems to: it holds the lock before the service can claim the job."""
    database = Database(Settings(home=home))
    jobs = Jobs(database, home)
    job = jobs.submit({}).id
    with contextlib.closing(database), fs.locked(jobs.lock_file(job)):
        if jobs.claim(job, JobOwner("benchmark", os.getpid())) is None:
            raise BenchmarkError("the service claimed the job first; run the benchmark again")
        yield job


def _correct(client: httpx.Client) -> httpx.Response:
    files = {"file": pictures.tile()}
    return client.post("/feedback", files=files, data={"label": "0"}, headers={"X-API-Key": KEY})


def _worker(server: Server) -> psutil.Process:
    return next(one for one in server.members() if one.pid != server.process.pid and "spawn_main" in str(one.cmdline()))


def _status(server: Server) -> int:
    try:
        return server.client.get("/health/ready", timeout=1).status_code
    except httpx.TransportError:
        return 0


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise BenchmarkError("the service did not get there in 120 s")
        time.sleep(0.05)
