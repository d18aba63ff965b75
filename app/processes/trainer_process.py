"""The process that trains for one job.

It runs `python -m training.retraining` in a process group of its own, reads a JobSpec from a file, and writes lines: a
JobEvent as a JSON object, or a line for the job's log. It kills itself when the pipe to its standard input closes, so
it never outlives the job runner, however that ended.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue

from pydantic import ValidationError

from models import subprocesses
from models.contract import ENDED_STATES, JobEvent, JobSpec, JobState

TERM_SECONDS = 2.0
"""From SIGTERM to SIGKILL; a cancelled job is gone within 5 s in all."""
LOG_LINES = 100


class TrainerProcess:
    """Use as a context manager: leaving it ends the process and its children.

    outcome: how the job ended, and why, once the process has reported it.
    """

    def __init__(self, spec: JobSpec, path: Path) -> None:
        """Writes the spec to the path and starts the process."""
        path.write_text(spec.model_dump_json())
        self.outcome: tuple[JobState, str | None] | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        # The spec contains all that the trainer needs. A thread that spins while it waits would occupy a core.
        environment = {**subprocesses.environment(), "OMP_WAIT_POLICY": "PASSIVE"}
        self._process = subprocess.Popen(  # noqa: S603 Inkling's own module
            subprocesses.command("training.retraining", path.absolute()),
            cwd=subprocesses.ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,  # not a new session: Linux may give sessions equal shares, whatever their priority
        )
        self._reader = threading.Thread(target=self._read, name="trainer output", daemon=True)
        self._reader.start()

    def __enter__(self) -> "TrainerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TERM_SECONDS)
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def next_event(self, seconds: float) -> JobEvent | None:
        """The next event; an empty event for a log line or after `seconds` without a line; None after the last line."""
        try:
            line = self._lines.get(timeout=seconds)
        except Empty:
            return JobEvent()
        if line is None:
            self._lines.put(None)  # for the next call
            return None
        try:
            event = JobEvent.model_validate_json(line)
        except ValidationError:
            self._log.append(f"{time.strftime('%H:%M:%S')}  {line.rstrip()}")
            return JobEvent()
        if event.state in ENDED_STATES:
            self.outcome = event.state, event.reason
        return event

    def log(self) -> str:
        """The last lines of the log."""
        return "\n".join(self._log)

    def failure(self) -> tuple[JobState, str]:
        """How the job ended, by the exit status of a process that has not reported it."""
        status = self._process.wait()
        if status < 0:
            return "failed", f"interrupted: the trainer was ended by {signal.Signals(-status).name}"
        return "failed", f"the trainer ended with status {status}; its log says more"

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 a pipe was asked for
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
