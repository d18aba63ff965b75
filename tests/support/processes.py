"""The processes of a service."""

import contextlib

import psutil


def workers(supervisor: int) -> list[int]:
    """The process ids of a supervisor's workers."""
    found = []
    for child in psutil.Process(supervisor).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if any("spawn_main" in word for word in child.cmdline()):
                found.append(child.pid)
    return found
