"""Runs retraining jobs, one at a time, each in a trainer process. The supervisor owns the job runner."""

import contextlib
import logging
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.processes.trainer_process import TrainerProcess
from app.settings import Settings
from app.storage.database import Database, DatabaseUnavailable, StorageFull
from app.storage.jobs import Job, JobOwner, Jobs
from models import fs
from models.contract import ENDED_STATES, JobEvent, JobSpec, JobState
from models.errors import HomeError

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 3.0

log = logging.getLogger(__name__)


class _TakenElsewhere(Exception):
    """Another process holds the job's lock."""


def _leave_it() -> None:
    raise _TakenElsewhere


class JobRunner:
    """A thread that claims the queued job and follows its trainer. A request to stop fails the running job."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings)
        self.jobs = Jobs(self.database, settings.home)
        self.owner = JobOwner(socket.gethostname(), os.getpid())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="job runner", daemon=True)

    def start(self) -> None:
        """Creates or migrates the database; runs jobs from then on, if settings.run_jobs says so.

        Raises DatabaseError or HomeError.
        """
        self.database.migrate()
        if self.settings.run_jobs:
            self._thread.start()

    def ask_to_stop(self) -> None:
        self._stopping.set()

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()
        self.database.close()

    def _run(self) -> None:
        problem = ""
        while not self._stopping.wait(POLL_SECONDS):
            try:
                self.jobs.fail_abandoned()
                if (name := self.jobs.queued()) is not None:
                    self._take(name)
            except (DatabaseUnavailable, StorageFull) as error:
                if str(error) != problem:  # once, however long it lasts
                    log.warning("cannot read the retraining jobs: %s", error)
                problem = str(error)
            except Exception:  # the thread must live on for the next job
                log.exception("the job runner failed")
            else:
                problem = ""

    def _take(self, name: str) -> None:
        """Claims the job and works on it, unless another job runner on this HOME is about to."""
        try:
            with fs.locked(self.jobs.lock_file(name), before_waiting=_leave_it):
                job = self.jobs.claim(name, self.owner)
                if job is None:  # cancelled meanwhile
                    shutil.rmtree(self.jobs.lock_file(name).parent, ignore_errors=True)
                else:
                    self._work(job)
        except _TakenElsewhere:
            pass
        except HomeError as error:
            self.jobs.finish(name, "failed", str(error))

    def _work(self, job: Job) -> None:
        log.info("job %s begins", job.id)
        folder = self.jobs.lock_file(job.id).parent
        with self._lease(job) as lost:
            state: JobState
            try:
                state, reason = self._train(job, folder, lost)
            except Exception as error:  # the job must end, so that the next one can begin
                log.exception("job %s failed", job.id)
                state, reason = "failed", f"the trainer could not be run: {error}"
            shutil.rmtree(folder, ignore_errors=True)
            self._finish(job, state, reason)
        log.info("job %s %s: %s", job.id, state, reason)

    def _train(self, job: Job, folder: Path, lost: threading.Event) -> tuple[JobState, str | None]:
        """How the job ended, and why."""
        for left in self.jobs.folder.iterdir():
            if left != folder:  # a killed service leaves the folder of its job
                shutil.rmtree(left, ignore_errors=True)
        feedback = folder / "feedback.npy"
        from app.storage.feedback import FeedbackStore  # NumPy and Pillow: 10 MB that only a job needs

        FeedbackStore(self.database, self.settings.max_feedback).export_array(feedback)
        spec = JobSpec(
            **job.parameters,
            job_id=job.id,
            home=self.settings.home.absolute(),
            data=self.settings.data.absolute(),
            download=self.settings.download,
            device=self.settings.device,
            runtime=self.settings.runtime,
            keep_versions=self.settings.keep_versions,
            feedback=feedback.absolute(),
        )
        with TrainerProcess(spec, folder / "job.json") as trainer:
            interruption = self._follow(job, trainer, lost)
        while (event := trainer.next_event(0)) is not None:  # what it wrote before it ended
            self._record(job, trainer, event)
        self._write(job, log=trainer.log())
        return trainer.outcome or interruption or trainer.failure()

    def _follow(self, job: Job, trainer: TrainerProcess, lost: threading.Event) -> tuple[JobState, str | None] | None:
        """Records events until the trainer has ended; returns the outcome if the trainer must be stopped."""
        while (event := trainer.next_event(POLL_SECONDS)) is not None:
            self._record(job, trainer, event)
            if lost.is_set():
                return "failed", "interrupted: the job's lock went to another process"
            if self._stopping.is_set():
                return "failed", "interrupted: the service ended while the job ran"
            if self._cancelled(job):
                return "cancelled", "cancelled while it ran"
        return None

    def _record(self, job: Job, trainer: TrainerProcess, event: JobEvent) -> None:
        """Writes what has changed; `_finish` writes how the job ended."""
        values = event.model_dump(exclude_unset=True, exclude={"reason"})
        if event.state in ENDED_STATES:
            del values["state"]
        if values:
            self._write(job, **values, log=trainer.log())

    def _write(self, job: Job, **values: Any) -> None:
        with contextlib.suppress(DatabaseUnavailable, StorageFull):  # the next event comes within a second
            self.jobs.update(job.id, **values)

    def _cancelled(self, job: Job) -> bool:
        with contextlib.suppress(DatabaseUnavailable, StorageFull):
            return self.jobs.get(job.id).cancelling
        return False

    @contextlib.contextmanager
    def _lease(self, job: Job) -> Iterator[threading.Event]:
        """Renews the lease by a heartbeat; sets the event once another process has taken the job over."""
        lost, done = threading.Event(), threading.Event()

        def renew() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                with contextlib.suppress(DatabaseUnavailable, StorageFull):
                    if not self.jobs.renew_lease(job.id, self.owner):
                        lost.set()
                        return

        thread = threading.Thread(target=renew, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield lost
        finally:
            done.set()
            thread.join()

    def _finish(self, job: Job, state: JobState, reason: str | None) -> None:
        """Repeats until the database has it. If the service ends before, the job's lease expires."""
        while True:
            try:
                self.jobs.finish(job.id, state, reason)
            except (DatabaseUnavailable, StorageFull) as error:
                log.error("cannot record how job %s ended, will try again: %s", job.id, error)
                if self._stopping.wait(HEARTBEAT_SECONDS):
                    return
            else:
                return
