"""`python -m training.retraining ORDER.json`: one job, run for app/processes/job_runner.py."""

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path


def main(path: str) -> None:
    """Status 2, and the reason told, for what somebody can mend."""
    _yield_to_others()
    _end_with_owner()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is half-written is cleaned up

    import torch

    from models import cpus
    from models.errors import InklingError
    from training.retraining.events import log, tell
    from training.retraining.job import Order, retrain

    torch.set_num_threads(cpus.usable())
    try:
        retrain(Order.model_validate_json(Path(path).read_bytes()))
    except InklingError as error:
        log(f"error: {error}")
        tell(state="failed", reason=str(error))
        sys.exit(2)


def _yield_to_others() -> None:
    """Idle priority, before any thread starts: the service takes the cores whenever it has something to do."""
    with suppress(OSError):
        os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _end_with_owner() -> None:
    """The owner holds the other end of standard input; when that closes, it is gone, and so is the use of all this."""

    def wait() -> None:
        while os.read(0, 1024):  # not sys.stdin, whose lock would break the interpreter's end
            pass
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
