"""`python -m training.retraining JOB.json`: runs one job for app/processes/job_runner.py. JOB.json holds a JobSpec."""

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from training import threads


def main(path: str) -> None:
    """Reports the job as failed and exits with status 2 for what a person can mend."""
    _use_idle_priority()
    _end_with_job_runner()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` removes half-written files

    threads.limit_spinning()
    from models.contract import JobSpec
    from models.errors import InklingError
    from training.retraining.events import emit, log
    from training.retraining.job import retrain

    threads.limit_threads()
    try:
        retrain(JobSpec.model_validate_json(Path(path).read_bytes()))
    except InklingError as error:
        log(f"error: {error}")
        emit(state="failed", reason=str(error))
        sys.exit(2)


def _use_idle_priority() -> None:
    """Leaves the cores to the service. Threads inherit the priority, so this comes before any thread starts."""
    with suppress(OSError):
        os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_job_runner() -> None:
    """Kills this process and its children when standard input closes: then the job runner, which holds it, is gone."""

    def wait() -> None:
        while os.read(0, 1024):  # sys.stdin has a lock that this thread would hold while the interpreter exits
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
