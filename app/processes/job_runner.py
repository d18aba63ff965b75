"""Runs retraining jobs, one at a time: the process that starts the workers owns it, and it owns the trainer's process.

The trainer is started as `python -m training.retraining`, spawned and in a process group of its own. It reads a file
that says what to do, and writes lines: JSON objects are news of the job, anything else is its log. It ends itself when
the pipe to its standard input closes, so that it never outlives its owner, however that ended.
"""

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from app.settings import Settings
from app.storage.database import Database, DatabaseUnavailable, StorageFull
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Job, JobOwner, Jobs
from models.contract import ENDED_STATES, JobState

ROOT = Path(__file__).parents[2]
LOOK_SECONDS, BEAT_SECONDS = 0.5, 3.0
TERM_SECONDS = 2.0
"""From SIGTERM to SIGKILL; a cancelled job is gone within 5 s in all."""
LOG_LINES = 100

_RECORDED = {"state", "epoch", "epochs", "progress", "metrics", "version"}

log = logging.getLogger(__name__)


class JobRunner:
    """`start` creates or migrates the database, too. Once asked to stop, it ends the running job as failed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.home / "retraining"
        self.database = Database(settings)
        self.jobs = Jobs(self.database)
        self.owner = JobOwner(socket.gethostname(), os.getpid())
        self._feedback = FeedbackStore(self.database, settings.max_feedback)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)

    def start(self) -> None:
        """Raises DatabaseError or HomeError."""
        self.database.migrate()
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()
        self.database.close()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            try:
                self.jobs.reap()
                job = self.jobs.claim(self.owner)
                if job is not None:
                    self._work(job)
            except (DatabaseUnavailable, StorageFull) as error:
                log.warning("no look at the retraining jobs: %s", error)
            except Exception:  # whatever it was, the next job deserves another look
                log.exception("retraining")

    def _work(self, job: Job) -> None:
        log.info("job %s begins", job.id)
        folder = self.folder / job.id
        with self._heart(job) as lost:
            state: JobState
            try:
                state, reason = self._train(job, folder, lost)
            except Exception as error:  # whatever it was, the job has to end and the next one can begin
                log.exception("job %s", job.id)
                state, reason = "failed", f"the trainer could not be run: {error}"
            shutil.rmtree(folder, ignore_errors=True)
            self._insist(lambda: self.jobs.finish(job.id, state, reason))
        log.info("job %s %s: %s", job.id, state, reason)

    def _train(self, job: Job, folder: Path, lost: threading.Event) -> tuple[JobState, str | None]:
        """How the job ended, and why."""
        shutil.rmtree(self.folder, ignore_errors=True)  # of jobs that a killed service left
        folder.mkdir(parents=True)
        feedback = folder / "feedback.npy"
        self._feedback.export_array(feedback)
        order = folder / "order.json"
        order.write_text(
            json.dumps(
                {
                    "job": job.id,
                    "home": str(self.settings.home.absolute()),
                    "data": str(self.settings.data.absolute()),
                    "download": self.settings.download,
                    "device": self.settings.device,
                    "keep_versions": self.settings.keep_versions,
                    "feedback": str(feedback.absolute()),
                    **job.parameters,
                }
            )
        )
        with TrainerProcess(order) as trainer:
            interruption = self._follow(job, trainer, lost)
        while line := trainer.line(0):  # what it still had to say
            self._hear(job, trainer, line)
        self._record(job, trainer)
        return trainer.outcome or interruption or trainer.death()

    def _follow(self, job: Job, trainer: "TrainerProcess", lost: threading.Event) -> tuple[JobState, str | None] | None:
        """Until the trainer has no more to say; or why it is to be ended before."""
        while (line := trainer.line(LOOK_SECONDS)) is not None:
            if line:
                self._hear(job, trainer, line)
            if lost.is_set():
                return "failed", "interrupted: the job's lock went to another process"
            if self._stopping.is_set():
                return "failed", "interrupted: the service ended while the job ran"
            if self._cancelled(job):
                return "cancelled", "cancelled while it ran"
        return None

    def _hear(self, job: Job, trainer: "TrainerProcess", line: str) -> None:
        news = trainer.take(line)
        if values := {name: news[name] for name in _RECORDED & news.keys()}:
            self._record(job, trainer, **values)

    def _record(self, job: Job, trainer: "TrainerProcess", **values: Any) -> None:
        with contextlib.suppress(DatabaseUnavailable, StorageFull):  # the next one will do
            self.jobs.record(job.id, **values, log="\n".join(trainer.lines))

    def _cancelled(self, job: Job) -> bool:
        with contextlib.suppress(DatabaseUnavailable):
            return self.jobs.get(job.id).cancelling
        return False

    @contextlib.contextmanager
    def _heart(self, job: Job) -> Iterator[threading.Event]:
        """Keeps the lock alive; the event is set when it has gone to somebody else."""
        lost, done = threading.Event(), threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_SECONDS):
                with contextlib.suppress(DatabaseUnavailable, StorageFull):
                    if not self.jobs.beat(job.id, self.owner):
                        lost.set()
                        return

        thread = threading.Thread(target=beat, name="heart", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            done.set()
            thread.join()

    def _insist(self, write: Callable[[], None]) -> None:
        """Until the database takes it; a lock that it never takes back goes stale by itself."""
        while True:
            try:
                return write()
            except (DatabaseUnavailable, StorageFull) as error:
                log.error("how the job ended can not be written yet: %s", error)
                if self._stopping.wait(BEAT_SECONDS):
                    return None


class TrainerProcess:
    """The process, and the lines that it wrote. outcome: how the job ended, and why, once it has said so."""

    def __init__(self, order: Path) -> None:
        self.lines: deque[str] = deque(maxlen=LOG_LINES)
        self.outcome: tuple[JobState, str | None] | None = None
        self._arriving: SimpleQueue[str | None] = SimpleQueue()
        # What the trainer need not know, it can not tell.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("INKLING_")}
        environment["OMP_WAIT_POLICY"] = "PASSIVE"  # a thread that waits for another one by spinning takes its core
        self._process = subprocess.Popen(  # noqa: S603 our own module
            [sys.executable, "-m", "training.retraining", str(order.absolute())],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # in our session: Linux may weigh sessions alike, whatever priority is in them
        )
        self._reader = threading.Thread(target=self._read, name="trainer's lines", daemon=True)
        self._reader.start()

    def __enter__(self) -> "TrainerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the process and all that it started."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TERM_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def line(self, seconds: float) -> str | None:
        """The next line; empty when none came in that time, None when there will be no more."""
        try:
            return self._arriving.get(timeout=seconds)
        except Empty:
            return ""

    def take(self, line: str) -> dict[str, Any]:
        """The news that the line has; what is no news goes to the log."""
        try:
            news = json.loads(line)
        except ValueError:
            news = None
        if not isinstance(news, dict):
            self.lines.append(f"{time.strftime('%H:%M:%S')}  {line.rstrip()}")
            return {}
        if news.get("state") in ENDED_STATES:
            self.outcome = (news.pop("state"), news.get("reason"))
        return news

    def death(self) -> tuple[JobState, str | None]:
        """What can be told from outside, of one that ended without a word."""
        code = self._process.wait()
        if code < 0:
            return "failed", f"interrupted: the trainer was ended by {signal.Signals(-code).name}"
        return "failed", f"the trainer ended with status {code}; its log says more"

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 a pipe was asked for
        for line in self._process.stdout:
            self._arriving.put(line)
        self._arriving.put(None)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
