"""Services on loopback, in this process or in one of their own, and checks of their answers."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
from fastapi import FastAPI

from app.main import create_app
from app.processes.job_runner import JobRunner
from app.processes.sockets import listen
from app.processes.worker import Server as HttpServer
from app.settings import Settings
from app.storage.database import Database
from tests.support.environment import ROOT
from tests.support.waiting import wait_until


class Server:
    """A service on loopback, and an HTTP client of it."""

    def __init__(
        self,
        url: str,
        process: subprocess.Popen[str] | None = None,
        app: FastAPI | None = None,
        log: Path | None = None,
    ) -> None:
        self.url = url
        self.app = app
        self.log = log
        self.loop: asyncio.AbstractEventLoop | None = None
        self.process = process
        self.client = httpx.Client(base_url=url, timeout=30)

    def predict(self, picture: bytes) -> dict:
        answer = self.client.post("/predict", files={"file": picture})
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Admits as many images as the service may have in flight, so that it answers 503."""
        assert self.app is not None
        batcher = self.app.state.inference.batcher
        wait_until(lambda: batcher.admitted == 0)
        batcher.admit(batcher.max_concurrent_images)
        try:
            yield
        finally:
            batcher.release(batcher.max_concurrent_images)


def check_problem(answer: httpx.Response, status: int, name: str, *words: str) -> dict[str, Any]:
    """Checks that the answer is this problem (RFC 9457) and reveals no internals; returns its JSON."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"/problems/{name}"
    assert body["status"] == status
    assert body["title"]
    for word in words:
        assert word in body["detail"]
    assert "Traceback" not in answer.text
    return body


@contextlib.contextmanager
def closing(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    """Closes them all at the end."""
    try:
        yield sockets
    finally:
        for listening in sockets:
            listening.close()


@contextlib.contextmanager
def running(settings: Settings) -> Iterator[Server]:
    """As `serving`, with a job runner."""
    runner = JobRunner(settings)
    runner.start()
    try:
        with serving(settings) as found:
            yield found
    finally:
        runner.ask_to_stop()
        runner.join()


@contextlib.contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    """The app under uvicorn, in a thread of this process."""
    database = Database(settings)
    database.migrate()
    database.close()
    app = create_app(settings)
    loops: list[asyncio.AbstractEventLoop] = []
    server = HttpServer(app, settings, lambda: loops.append(asyncio.get_running_loop()))
    with closing(listen("127.0.0.1", 0)) as sockets:
        thread = threading.Thread(target=server.run, kwargs={"sockets": sockets})
        thread.start()
        try:
            wait_until(lambda: server.started or not thread.is_alive())
            assert server.started
            found = Server(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", app=app)
            found.loop = loops[0]
            with found.client:
                yield found
        finally:
            server.should_exit = True
            thread.join(30)


KEY = "correct horse battery staple"
WITH_KEY = {"X-API-Key": KEY}


def spawn(*arguments: str, stderr: IO[str] | int = subprocess.PIPE, **variables: str) -> subprocess.Popen[str]:
    """`inkling` with these arguments and environment variables."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "inkling.py"), *arguments],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
