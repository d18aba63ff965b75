"""A service on loopback whose retraining jobs are measured."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import servers
from benchmarks.machine import BenchmarkError
from benchmarks.servers import Server

ENDED = {"succeeded", "rejected", "failed", "cancelled"}
JOB_SECONDS = 3600


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="inkling-learning-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def serve(folder: Path, data: Path, **settings: str) -> Server:
    """Starts a service with its HOME in the folder, and returns once it is ready. Raises BenchmarkError."""
    if not (data / "MNIST" / "raw").is_dir():
        raise BenchmarkError(f"MNIST is not in {data}; --data names the folder that holds MNIST/raw")
    given = {"HOME": str(home(folder)), "DATA": str(data.resolve()), "DOWNLOAD": "false", **settings}
    server = servers.inkling("learning", folder, given)
    try:
        return server.wait_ready()
    except BaseException:
        server.kill()
        raise


def home(folder: Path) -> Path:
    return folder / "home"


def newest_job(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/retrain").json()["jobs"][0]
    return found


def retrain(server: Server, **parameters: Any) -> dict[str, Any]:
    """Runs one job to its end and returns it."""
    server.client.post("/retrain", json=parameters).raise_for_status()
    wait(lambda: newest_job(server)["state"] in ENDED, JOB_SECONDS)
    return newest_job(server)


def wait(condition: Callable[[], bool], seconds: float) -> None:
    """Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a condition did not hold within {seconds:g} s")
        time.sleep(0.05)


def trainers(folder: Path) -> list[psutil.Process]:
    """The processes that train for services with their HOME in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or ())
        if "training.retraining" in command and f"{folder}/" in command:
            found.append(process)
    return found
