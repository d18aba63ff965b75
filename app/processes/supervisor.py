"""The process that `inkling serve` starts: it owns the socket, and the workers that answer on it.

It imports no torch, so that it is up at once and stays small, and it outlives every worker: whatever a service has
once, and not once a worker, is started and stopped here.
"""

import contextlib
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from app.observability import logs
from app.observability.multiprocess import MultiprocessStore, new_folder
from app.processes.job_runner import JobRunner
from app.settings import Settings
from models import cpus
from models.errors import InklingError

DRAIN_SECONDS = 10
"""How long a worker may take to answer what it has accepted."""
_KILL_SECONDS = DRAIN_SECONDS + 5
_STEADY_SECONDS = 10
_LONGEST_PAUSE = 30.0

log = logging.getLogger(__name__)

# A forked child can use neither CUDA nor torch's threads when its parent has; a spawned one inherits nothing.
_spawning = multiprocessing.get_context("spawn")


class PortTaken(InklingError):
    pass


class StartFailed(InklingError):
    """A worker could not begin to serve; the message is the worker's own."""


@dataclass(frozen=True)
class Ready:
    """What a worker reports once it answers: the model, and the device by name and kind ("cpu", "cuda", "mps")."""

    model: str
    device: str
    kind: str


@dataclass(frozen=True)
class Failed:
    """What a worker reports when it can not begin to serve."""

    reason: str


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises InklingError for what the operator can mend, before anything is served."""
    logs.set_up()
    settings.key()  # before anything is served, and not once a worker
    with listen(settings.host, settings.port) as listening, new_folder(settings.home) as folder:
        Supervisor(settings, listening, folder).run()


class Supervisor:
    """Starts the workers on one socket, replaces those that end, and stops them together.

    folder: where the workers' board is.
    """

    def __init__(self, settings: Settings, listening: socket.socket, folder: Path) -> None:
        self.settings = settings
        self.listening = listening
        self.folder = folder
        self.workers: list[WorkerSlot] = []
        self._runner = JobRunner(settings)
        self._stopping = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises StartFailed when the first worker can not begin to serve."""
        with self._signals() as signals:
            try:
                self._runner.start()
                self._start(signals)
                while not self._stopping:
                    for worker in self.workers:
                        worker.tend()
                    self._wait(signals)
            finally:
                self._stop()

    def _start(self, signals: socket.socket) -> None:
        """The first worker checks the device, brings HOME up to date and loads the model; then the others start."""
        first = self._add_worker()
        while first.ready is None:
            self._wait(signals)
            if self._stopping:
                return
            if (reason := first.hear()) is not None:
                raise StartFailed(reason)
        count = self.settings.workers_on(cpus.usable() if first.ready.kind == "cpu" else 1)
        for _ in range(count - 1):
            self._add_worker()
        host, port = self.listening.getsockname()[:2]
        log.info("serving %s on %s, workers: %d", first.ready.model, first.ready.device, count)
        log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def _add_worker(self) -> "WorkerSlot":
        worker = WorkerSlot(self.settings, self.listening, MultiprocessStore(self.folder, len(self.workers)))
        worker.start()
        self.workers.append(worker)
        return worker

    def _stop(self) -> None:
        """Lets the workers answer what they have accepted, within a bound."""
        self.listening.close()
        self._runner.ask_to_stop()
        for worker in self.workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + _KILL_SECONDS
        for worker in self.workers:
            worker.join(deadline)
        self._runner.join()

    def _wait(self, signals: socket.socket) -> None:
        """Until a signal comes, a worker reports or ends, or one is due to be started."""
        events = [event for worker in self.workers for event in worker.events()]
        due = [worker.due for worker in self.workers if worker.due is not None]
        wait([signals, *events], max(0.0, min(due) - time.monotonic()) if due else None)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """SIGTERM and SIGINT ask the service to stop; the socket becomes readable with them."""

        def stop(*_: object) -> None:
            self._stopping = True

        readable, written = socket.socketpair()
        with readable, written:
            written.setblocking(False)
            signal.set_wakeup_fd(written.fileno())
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, stop)
            try:
                yield readable
            finally:
                signal.set_wakeup_fd(-1)


class WorkerSlot:
    """The place of one worker process. When the process ends, `tend` starts another, after a pause if it soon ended.

    ready: its report, None until it answers; due: when the next process is to be started, None while there is one.
    """

    def __init__(self, settings: Settings, listening: socket.socket, board: MultiprocessStore) -> None:
        self.settings = settings
        self.listening = listening
        self.board = board
        self.ready: Ready | None = None
        self.due: float | None = None
        self._process: BaseProcess | None = None
        self._reports: Connection | None = None
        self._reason: str | None = None
        self._started = 0.0
        self._pause = 0.0

    def start(self) -> None:
        self._reports, theirs = _spawning.Pipe(duplex=False)
        self._process = _spawning.Process(target=_work, args=(self.settings, self.listening, theirs, self.board))
        self._process.start()
        theirs.close()
        self._started = time.monotonic()
        self.ready = self.due = self._reason = None

    def tend(self) -> None:
        """Starts another process where the last one has ended, once it is due."""
        if self.due is None and (reason := self.hear()) is not None:
            if self.ready is not None and time.monotonic() - self._started > _STEADY_SECONDS:
                self._pause = 0.0
            log.error("%s; another one starts%s", reason, f" in {self._pause:g} s" if self._pause else "")
            self.due = time.monotonic() + self._pause
            self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE)
            self._forget()
        if self.due is not None and time.monotonic() >= self.due:
            self.start()

    def hear(self) -> str | None:
        """Takes in what the process reports. Why it ended, once it has."""
        while self._reports is not None and self._reports.poll():
            try:
                report = self._reports.recv()
            except EOFError:
                self._reports.close()
                self._reports = None
            else:
                self.ready = report if isinstance(report, Ready) else None
                self._reason = report.reason if isinstance(report, Failed) else None
        if self._process is None or self._process.is_alive():
            return None
        return self._reason or f"worker {self._process.pid} {_ending(self._process.exitcode)}"

    def events(self) -> list[Connection | int]:
        """What becomes ready when `hear` would tell something new."""
        found: list[Connection | int] = [] if self._reports is None else [self._reports]
        return found if self._process is None else [*found, self._process.sentinel]

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Waits for the end of the process; one that goes on beyond the deadline is killed."""
        if self._process is None:
            return
        self._process.join(max(0.0, deadline - time.monotonic()))
        if self._process.is_alive():
            log.error("worker %d did not end in %d s and is killed", self._process.pid, _KILL_SECONDS)
            self._process.kill()
            self._process.join()
        self._forget()

    def _forget(self) -> None:
        if self._process is not None:
            self._process.close()
            self.board.clear("state")
        if self._reports is not None:
            self._reports.close()
        self._process = self._reports = self.ready = None


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises PortTaken, also for a host that is none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PortTaken(
            f"can not listen on {host}:{port}: {reason}; INKLING_HOST and INKLING_PORT choose another"
        ) from error
    return listening


def _work(settings: Settings, listening: socket.socket, reports: Connection, board: MultiprocessStore) -> None:
    from app.processes import worker  # it imports torch

    worker.run(settings, listening, reports, board)


def _ending(code: int | None) -> str:
    return (
        f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with status {code}"
    )
