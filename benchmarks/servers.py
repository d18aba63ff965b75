"""Servers as processes: bound to cores, watched, halted while others are measured, ended with all their children."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from benchmarks.machine import ROOT, BenchmarkError
from benchmarks.pictures import Body

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Server:
    """One server and whatever processes it starts."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        folder: Path,
        cores: set[int],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"{name.replace(' ', '-')}-{port}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INKLING_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**environment, **(variables or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        self._sessions = {self.process.pid}

    def first_answer(self, path: str, body: Body, seconds: float = 90) -> httpx.Response:
        """What it answers once it is ready, whatever that is. Raises BenchmarkError with the end of its log."""
        deadline = time.monotonic() + seconds
        answer = None
        while time.monotonic() < deadline and self.process.poll() is None:
            answer = self.ask(path, body)
            if answer is not None and answer.status_code < 500:
                return answer
            time.sleep(0.02)
        found = f"answered {answer.status_code}" if answer is not None else "did not answer"
        lines = self.log.read_text(errors="replace").splitlines()[-15:]
        raise BenchmarkError("\n".join([f"{self.name} {found} within {seconds:.0f} s; its log ends:", *lines]))

    def ask(self, path: str, body: Body) -> httpx.Response | None:
        """One answer, or None while nobody listens."""
        try:
            return httpx.post(
                self.url + path, content=body.data, headers={"Content-Type": body.content_type}, timeout=30
            )
        except httpx.TransportError:
            return None

    def members(self) -> list[int]:
        """Its living processes, children before parents; also those whose parent ended before them."""
        found: list[int] = []
        for pid, fields in _processes():
            state, parent, session = fields[0], int(fields[1]), int(fields[3])
            if session in self._sessions or parent in found:
                self._sessions.add(session)  # BentoML's worker leads a session of its own
                if state != "Z":
                    found.append(pid)
        return found[::-1]

    def memory(self) -> dict[int, int]:
        """Resident bytes of each process."""
        return {pid: int(fields[21]) * _PAGE for pid in self.members() if (fields := _stat(Path(f"/proc/{pid}")))}

    def cpu_seconds(self) -> float:
        """What its processes have used so far."""
        found = (_stat(Path(f"/proc/{pid}")) for pid in self.members())
        return sum(int(fields[11]) + int(fields[12]) for fields in found if fields) / _TICKS

    def halt(self) -> None:
        """Its idle loops take nothing from the server that is being measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self, seconds: float = 10) -> int | None:
        """SIGTERM, and SIGKILL for what is left after a while; the exit status, None if it had to be killed."""
        self.resume()
        if self.process.poll() is None:
            self.process.terminate()
        ended = True
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            ended = False
        self._signal(signal.SIGKILL)
        self.process.wait()
        return self.process.returncode if ended else None

    def _signal(self, number: int) -> None:
        for pid in self.members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def inkling(name: str, folder: Path, cores: set[int], **variables: str) -> Server:
    """`inkling serve` with a HOME under the folder and INKLING_* variables, else at its shipped defaults."""
    port = free_port()
    settings = {"HOME": str(folder / f"home-{name}"), "PORT": str(port), **variables}
    environment = {f"INKLING_{setting}": value for setting, value in settings.items()}
    return Server(name, [sys.executable, str(ROOT / "inkling.py"), "serve"], port, folder, cores, environment)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def digit_of(answer: httpx.Response) -> int | None:
    """The digit of an answer; of a batch, the one that all its results share."""
    content = answer.json()
    if isinstance(content, dict) and "results" in content:
        content = content["results"]
    digits = {item.get("digit") for item in content} if isinstance(content, list) else {content.get("digit")}
    return digits.pop() if len(digits) == 1 else None


def _processes() -> list[tuple[int, list[str]]]:
    """Every process with its fields, the oldest first: a parent comes before its children."""
    found = ((int(folder.name), _stat(folder)) for folder in Path("/proc").iterdir() if folder.name.isdecimal())
    return sorted(((pid, fields) for pid, fields in found if fields), key=lambda item: (int(item[1][19]), item[0]))


def _stat(folder: Path) -> list[str]:
    """The fields of /proc/PID/stat after the name, the first being the state; empty if the process is gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
