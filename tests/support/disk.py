"""Disks that are full or read-only."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Simulates a full disk: the kernel lets no file of this process grow beyond this size in bytes."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def make_full(pid: int) -> None:
    """As `file_size_limit`, for a process that runs, and for those that it starts from now on."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))


def make_empty(pid: int) -> None:
    """Ends `make_full`."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Whatever opens a file below the folder from now on finds a read-only disk. Needs the right to mount."""
    for command in (["mount", "--bind", folder, folder], ["mount", "-o", "remount,bind,ro", folder]):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            subprocess.run(["umount", "--lazy", folder], capture_output=True, check=False)
            pytest.skip(f"uid {os.getuid()} cannot mount here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
