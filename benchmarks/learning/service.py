"""`inkling serve` as a process, with a HOME of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import ROOT
from benchmarks.servers import free_port

KEY = "benchmark"
ENDED = {"succeeded", "rejected", "failed", "cancelled"}
START_SECONDS, JOB_SECONDS = 120, 3600


class Service:
    """Starts at once and returns when it is ready; `stop` or `kill` ends it."""

    def __init__(self, home: Path, data: Path, **variables: str) -> None:
        port = free_port()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INKLING_")}
        environment |= {"INKLING_HOME": str(home), "INKLING_DATA": str(data), "INKLING_PORT": str(port)}
        environment |= {"INKLING_API_KEY": KEY, "INKLING_DOWNLOAD": "false", **variables}
        self.home = home
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, headers={"X-API-Key": KEY}, timeout=60)
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "inkling.py"), "serve"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait(self.ready, START_SECONDS)

    def ready(self) -> bool:
        if self.process.poll() is not None:
            raise RuntimeError(f"the service ended with status {self.process.returncode}")
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/health/ready").status_code == 200
        return False

    def job(self) -> dict[str, Any]:
        """The newest one."""
        found: dict[str, Any] = self.client.get("/retrain").json()["jobs"][0]
        return found

    def retrain(self, **parameters: Any) -> dict[str, Any]:
        """Runs a job to its end."""
        self.client.post("/retrain", json=parameters).raise_for_status()
        wait(lambda: self.job()["state"] in ENDED, JOB_SECONDS)
        return self.job()

    def stop(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def kill(self) -> None:
        """The supervisor alone, or with it whatever it started, is for the caller to say; this is all of them."""
        self.client.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="inkling-"))
    try:
        yield folder / "home"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s")
        time.sleep(0.05)


def trainers(home: Path) -> Iterator[int]:
    """The processes that train for this HOME."""
    listing = subprocess.run(["ps", "-axwwo", "pid,command"], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines()[1:]:
        pid, command = line.split(None, 1)
        if "training.retraining" in command and f"{home}/" in command:
            yield int(pid)
