"""A terminal that a test can read: a pseudo-terminal of this machine."""

import contextlib
import os
import pty
import sys
from collections.abc import Callable

import pytest


def shown_on_terminal(show: Callable[[], None]) -> str:
    """Runs `show` with a terminal as its standard output; returns what was written to the terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as screen, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TERM", "xterm")
        for name in ("NO_COLOR", "CI"):
            patch.delenv(name, raising=False)
        patch.setattr(sys, "stdout", screen)
        show()
    found = b""
    with contextlib.suppress(OSError):  # the read fails once the other end is closed and all is read
        while part := os.read(ours, 65_536):
            found += part
    os.close(ours)
    return found.decode()
