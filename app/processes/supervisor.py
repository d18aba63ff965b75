"""The process that `inkling serve` starts. It owns the sockets, the workers that answer on them, and the job runner.

It imports no torch, so that it starts at once and stays small. It outlives every worker, so everything that exists once
for a service, and not once for each worker, is started and stopped here.
"""

import contextlib
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING

from app.api.keys import Keys, refreshing
from app.observability import logs
from app.observability.multiprocess import MultiprocessStore, new_folder
from app.processes.messages import KILL_SECONDS, Ready
from app.processes.sockets import listen
from app.processes.standby import Standby
from app.settings import Settings
from models.errors import InklingError
from models.inference import runtimes

if TYPE_CHECKING:
    from app.processes.job_runner import JobRunner

STEADY_SECONDS = 10
"""A worker that has served for longer is replaced at once when it ends."""
MAX_PAUSE_SECONDS = 30.0

log = logging.getLogger(__name__)

# The supervisor has threads: a forked child would inherit the locks that they hold, and a spawned one inherits nothing.
_spawning = multiprocessing.get_context("spawn")


class StartFailed(InklingError):
    """A worker cannot begin to serve; the message is the worker's own."""


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises InklingError for what the operator can correct, before it serves."""
    logs.set_up()
    keys = Keys(settings)
    keys.warn_of_short_ones()
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(listening) for listening in listen(settings.host, settings.port)]
        folder = stack.enter_context(new_folder(settings.home))
        stack.enter_context(refreshing(keys, logged=True))
        Supervisor(settings, sockets, folder, keys).run()


class Supervisor:
    """Starts the workers, replaces those that end, and stops them together.

    sockets: listening, and shared by all workers. folder: where the workers publish their metrics. keys: what a new
    worker begins with, since the key file may have become unusable.
    """

    def __init__(self, settings: Settings, sockets: Sequence[socket.socket], folder: Path, keys: Keys) -> None:
        self.settings = settings
        self.sockets = sockets
        self.folder = folder
        self.keys = keys
        self.workers: list[WorkerSlot] = []
        self._job_runner: JobRunner | None = None
        self._standby: Standby | None = None
        self._stopping = False

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT. Raises StartFailed when the first worker cannot begin to serve."""
        with self._signals() as signals:
            try:
                first = self._add_worker()
                self._start_job_runner()
                self._start(first, signals)
                while not self._stopping:
                    for worker in self.workers:
                        worker.restart_if_ended()
                    self._answer_for_workers()
                    self._wait(signals)
                log.info("stopping: a signal asks for it")
            finally:
                self._stop()

    def _start_job_runner(self) -> None:
        """Creates or migrates the database. Raises DatabaseError or HomeError."""
        if self.settings.run_jobs and not runtimes.is_installed("torch"):
            log.warning("torch is not installed, and retraining will fail; INKLING_RUN_JOBS=false refuses it")
        from app.processes.job_runner import JobRunner  # SQLAlchemy; the first worker loads meanwhile

        self._job_runner = JobRunner(self.settings)
        self._job_runner.start()

    def _start(self, first: "WorkerSlot", signals: socket.socket) -> None:
        """The first worker checks the device, brings HOME up to date and loads the model; then the others start."""
        while first.ready is None:
            self._wait(signals)
            if self._stopping:
                return
            if (reason := first.receive()) is not None:
                raise StartFailed(reason)
        for _ in range(first.ready.workers - 1):
            self._add_worker(first.served)
        ready = first.ready
        log.info("serving %s by %s on %s, workers: %d", ready.model, ready.runtime, ready.device, ready.workers)
        for listening in self.sockets:
            host, port = listening.getsockname()[:2]
            log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)

    def _add_worker(self, served: str | None = None) -> "WorkerSlot":
        store = MultiprocessStore(self.folder, len(self.workers))
        worker = WorkerSlot(self.settings, self.sockets, store, self.keys, served)
        worker.start()
        self.workers.append(worker)
        return worker

    def _answer_for_workers(self) -> None:
        """Refuses every request while no worker is ready and one could not start. Else a restart is worth the wait."""
        nobody = all(worker.ready is None for worker in self.workers) and any(worker.failing for worker in self.workers)
        if nobody and self._standby is None:
            log.error("no worker can start; requests are refused until one does")
            self._standby = Standby(self.sockets)
        elif not nobody and self._standby is not None:
            self._standby.stop()
            self._standby = None
            log.info("a worker serves again")

    def _stop(self) -> None:
        """Stops accepting, and lets the workers answer what they have accepted, within KILL_SECONDS."""
        if self._standby is not None:
            self._standby.stop()
        for listening in self.sockets:
            listening.close()
        if self._job_runner is not None:
            self._job_runner.ask_to_stop()
        for worker in self.workers:
            worker.ask_to_stop()
        deadline = time.monotonic() + KILL_SECONDS
        for worker in self.workers:
            worker.join(deadline)
        if self._job_runner is not None:
            self._job_runner.join()

    def _wait(self, signals: socket.socket) -> None:
        """Waits until a signal comes, a worker reports or ends, or a worker is due to be started."""
        events = [event for worker in self.workers for event in worker.events()]
        due = [worker.due for worker in self.workers if worker.due is not None]
        wait([signals, *events], max(0.0, min(due) - time.monotonic()) if due else None)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        """SIGTERM and SIGINT ask the service to stop, and make this socket readable, which ends `_wait`."""

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
    """Runs one worker process at a time; `restart_if_ended` replaces it, after a pause if it ended soon.

    ready: the worker's last report, None until it answers. served: the version in it, which stays when the process has
    ended; None makes the first process bring HOME up to date. due: when the next process starts, None while there is
    one. failing: the process before this one ended before it was ready, or was not the first to end soon.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: Sequence[socket.socket],
        store: MultiprocessStore,
        keys: Keys,
        served: str | None = None,
    ) -> None:
        self.settings = settings
        self.sockets = sockets
        self.store = store
        self.keys = keys
        self.served = served
        self.ready: Ready | None = None
        self.failing = False
        self.due: float | None = None
        self._process: BaseProcess | None = None
        self._reports: Connection | None = None
        self._reason: str | None = None
        self._started = 0.0
        self._pause = 0.0

    def start(self) -> None:
        self._reports, sender = _spawning.Pipe(duplex=False)
        arguments = (self.settings, self.sockets, sender, self.store, self.keys, self.served)
        self._process = _spawning.Process(target=_run_worker, args=arguments)
        self._process.start()
        sender.close()
        self._started = time.monotonic()
        self.ready = self.due = self._reason = None

    def restart_if_ended(self) -> None:
        """Starts another process once this one has ended and the pause is over."""
        if self.due is None and (reason := self.receive()) is not None:
            if self.ready is not None and time.monotonic() - self._started > STEADY_SECONDS:
                self._pause = 0.0
            self.failing = self.ready is None or self._pause > 0
            log.error("%s; another one starts%s", reason, f" in {self._pause:g} s" if self._pause else "")
            self.due = time.monotonic() + self._pause
            self._pause = min(max(1.0, 2 * self._pause), MAX_PAUSE_SECONDS)
            self._release()
        if self.due is not None and time.monotonic() >= self.due:
            self.start()

    def receive(self) -> str | None:
        """Receives the worker's reports. Returns why the process ended; None while it runs."""
        while self._reports is not None and self._reports.poll():
            try:
                report = self._reports.recv()
            except EOFError:
                self._reports.close()
                self._reports = None
            else:
                if isinstance(report, Ready):
                    self.ready, self.served = report, report.model
                else:
                    self._reason = report.reason
        if self._process is None or self._process.is_alive():
            return None
        return self._reason or f"worker {self._process.pid} {_exit_reason(self._process.exitcode)}"

    def events(self) -> list[Connection | int]:
        """What `multiprocessing.connection.wait` has to wait for: the worker's reports and its end."""
        found: list[Connection | int] = [] if self._reports is None else [self._reports]
        return found if self._process is None else [*found, self._process.sentinel]

    def ask_to_stop(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def join(self, deadline: float) -> None:
        """Waits for the end of the process, and kills it after the deadline."""
        if self._process is None:
            return
        self._process.join(max(0.0, deadline - time.monotonic()))
        if self._process.is_alive():
            log.error("worker %d did not end in %d s and is killed", self._process.pid, KILL_SECONDS)
            self._process.kill()
            self._process.join()
        self._release()

    def _release(self) -> None:
        if self._process is not None:
            self._process.close()
            self.store.clear("state")
        if self._reports is not None:
            self._reports.close()
        self._process = self._reports = self.ready = None


def _run_worker(
    settings: Settings,
    sockets: list[socket.socket],
    reports: Connection,
    store: MultiprocessStore,
    keys: Keys,
    served: str | None,
) -> None:
    from app.processes import worker  # FastAPI and ONNX Runtime, which the supervisor does without

    worker.run(settings, sockets, reports, store, keys, served)


def _exit_reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with status {code}"
