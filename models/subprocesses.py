"""How one of Inkling's own modules runs as a process."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The working folder of such a process, in which Python finds the module."""


def command(module: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment() -> dict[str, str]:
    """The variables of such a process: no settings, so that it cannot reveal the key."""
    return {name: value for name, value in os.environ.items() if not name.startswith("INKLING_")}
