"""Servers as processes: bound to cores, measured, stopped while others are measured, and ended with all children."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from benchmarks.machine import ROOT, BenchmarkError
from benchmarks.pictures import Body
from models import subprocesses

KEY = "benchmark-key-of-32-characters--"
READY_SECONDS = 120


class Server:
    """One server, with every process that it starts. As a context manager it stops at the end.

    cores: what its processes are bound to, None for all; client: sends the API key.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        folder: Path,
        cores: set[int] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, headers={"X-API-Key": KEY}, timeout=60)
        self.log = folder / f"{name}-{port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**subprocesses.environment(), **(variables or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
            )
        self._sessions = {self.process.pid}

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def wait_ready(self, pause: float = 0.02) -> "Server":
        """Returns once /health/ready answers 200. Raises BenchmarkError with the end of its log."""
        self.first_answer("/health/ready", pause=pause)
        return self

    def first_answer(self, path: str, body: Body | None = None, pause: float = 0.02) -> httpx.Response:
        """The first answer below 500, whatever it says. Raises BenchmarkError with the end of its log."""
        deadline, found = time.monotonic() + READY_SECONDS, "did not answer"
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                answer = self.ask(path, body)
                if answer.status_code < 500:
                    return answer
                found = f"answered {answer.status_code}"
            except httpx.TransportError:
                pass
            time.sleep(pause)
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        raise BenchmarkError("\n".join([f"{self.name} {found} within {READY_SECONDS} s; its log ends:", *lines]))

    def ask(self, path: str, body: Body | None = None) -> httpx.Response:
        if body is None:
            return self.client.get(path)
        return self.client.post(path, content=body.data, headers={"Content-Type": body.content_type})

    def members(self) -> list[psutil.Process]:
        """Its living processes, oldest first, including orphans and children in sessions of their own."""
        found: list[psutil.Process] = []
        for process in sorted(psutil.process_iter(["create_time"]), key=_age):
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                session = os.getsid(process.pid)
                if session in self._sessions or process.ppid() in [member.pid for member in found]:
                    self._sessions.add(session)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def memory(self, kind: str = "rss") -> list[int]:
        """The bytes of each process, oldest first: `rss`, or `pss`, which divides shared pages among their users."""
        return [memory_of(process, kind) for process in self.members()]

    def cpu_seconds(self) -> float:
        """The processor time that its living processes have used, in seconds."""
        used = 0.0
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                used += sum(process.cpu_times()[:2])
        return used

    def halt(self) -> None:
        """SIGSTOP, so that its idle loops take no time from the server that is being measured."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self, seconds: float = 15) -> int | None:
        """SIGTERM, then SIGKILL for what is left. Returns the exit status, None if the server had to be killed."""
        self.resume()
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        status = self.process.poll()
        self.kill()
        return status

    def kill(self) -> None:
        """SIGKILL for all its processes."""
        self.client.close()
        self.signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number: int) -> None:
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)


def inkling(
    name: str, folder: Path, settings: Mapping[str, str], cores: set[int] | None = None, checkout: Path = ROOT
) -> Server:
    """Starts `inkling serve` of a checkout, with HOME under the folder, an API key and these settings."""
    port = free_port()
    given = {"HOME": str(folder / f"home-{name}"), "PORT": str(port), "API_KEY": KEY, **settings}
    environment = {f"INKLING_{setting}": value for setting, value in given.items()}
    return Server(name, [sys.executable, str(checkout / "inkling.py"), "serve"], port, folder, cores, environment)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _age(process: psutil.Process) -> tuple[float, int]:
    return process.info["create_time"], process.pid


def memory_of(process: psutil.Process, kind: str) -> int:
    """Bytes; 0 if the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return int(getattr(process.memory_full_info(), kind))
    return 0


def digit_of(answer: httpx.Response) -> int | None:
    """The digit of a prediction, or the one digit that all predictions of a batch share."""
    content = answer.json()
    if isinstance(content, dict) and "outputs" in content:  # the Open Inference Protocol
        return next(int(output["data"][0]) for output in content["outputs"] if output["name"] == "digit")
    results = content if isinstance(content, list) else content.get("results", [content])
    digits = {result.get("digit") for result in results}
    return digits.pop() if len(digits) == 1 else None
