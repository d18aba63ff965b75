"""The machine that a benchmark runs on: its cores, and the line that says what it is."""

import os
import platform
import shutil
import signal
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]


class BenchmarkError(Exception):
    """What the caller can mend: one clear line, and exit status 2."""


def cores() -> tuple[int, int]:
    """The core of the server and the core of the load generator. Raises BenchmarkError where there are not two."""
    if not hasattr(os, "sched_getaffinity"):
        raise BenchmarkError("servers are bound to one core, which takes Linux")
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise BenchmarkError(f"the server and the load generator need a core each; usable: {usable}")
    return usable[-1], usable[0]


def program(name: str, package: str) -> str:
    """The path of a load generator. Raises BenchmarkError when it is not installed."""
    found = shutil.which(name)
    if found is None:
        raise BenchmarkError(f"{name} is not installed; on Debian and Ubuntu: apt-get install {package}")
    return found


def end_in_order() -> None:
    """SIGTERM ends the benchmark as an interrupt does: with its servers, which have sessions of their own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def describe() -> str:
    """Date, processor, cores, and the libraries that matter, on one line."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "uvicorn", "fastapi", "starlette"))
    system = f"{platform.system()} {platform.release()}"
    processor = f"{_processor()}, {os.cpu_count()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}; {processor}; {system}; Python {platform.python_version()}, {libraries}"


def say(line: str) -> None:
    """Progress, on standard error: standard output is the table's alone."""
    print(line, file=sys.stderr, flush=True)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
