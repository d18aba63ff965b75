"""The machine that a benchmark runs on: its cores, and the line that describes it."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = ("torch", "onnxruntime", "uvicorn", "fastapi", "starlette")


class BenchmarkError(Exception):
    """The benchmark cannot run here, or a server failed. The message says what to do; the exit status is 2."""


def cores() -> tuple[int, int]:
    """The core of the server and the core of the load generator. Raises BenchmarkError unless there are two."""
    if not hasattr(os, "sched_getaffinity"):
        raise BenchmarkError("this benchmark binds servers to a core, which needs Linux")
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise BenchmarkError(f"the server and the load generator need one core each; usable cores: {usable}")
    return usable[-1], usable[0]


def describe() -> str:
    """Date, processor, cores, system and library versions on one line."""
    libraries = ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name)))
    system = f"{platform.system()} {platform.release()}"
    processor = f"{_processor()}, {os.cpu_count()} cores"
    return f"{datetime.now(UTC):%Y-%m-%d}; {processor}; {system}; Python {platform.python_version()}, {libraries}"


def say(line: str) -> None:
    """Prints progress to standard error; standard output holds the tables alone."""
    print(line, file=sys.stderr, flush=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
