"""Waiting for a condition, never for a length of time."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], seconds: float = 60, every: float = 0.02) -> None:
    """Polls for a condition; the deadline is generous, since the machine may be busy."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(every)
