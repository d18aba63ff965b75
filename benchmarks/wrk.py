"""wrk, a load generator in C: a closed loop that keeps one request in flight on each connection."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import BenchmarkError
from benchmarks.pictures import Body

_SCRIPT = Path(__file__).with_name("post.lua")


class LoadFailed(Exception):
    """A request had no answer, or one whose status is not 2xx."""


@dataclass(frozen=True)
class Load:
    """rate: answers per second; median, p99: latencies in seconds."""

    rate: float
    median: float
    p99: float


def find() -> str:
    """The path of wrk. Raises BenchmarkError if it is not installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")
    return found


def run(url: str, body: Body, connections: int, seconds: int, cores: set[int]) -> Load:
    """Raises LoadFailed if an answer is missing or its status is not 2xx."""
    with running(url, body, connections, seconds, cores) as process:
        output, error = process.communicate()
    if process.returncode != 0:
        raise LoadFailed(f"wrk ended with {process.returncode}: {error.strip() or output.strip()}")
    return parse(output)


@contextmanager
def running(url: str, body: Body, connections: int, seconds: int, cores: set[int]) -> Iterator["subprocess.Popen[str]"]:
    """wrk at work, to measure something else meanwhile."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(body.data)
        file.flush()
        options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT)]
        command = [
            "taskset",
            "-c",
            ",".join(map(str, cores)),
            find(),
            *options,
            url,
            "--",
            file.name,
            body.content_type,
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            yield process


def parse(output: str) -> Load:
    """Reads the last line of the output, which the script writes. Raises LoadFailed."""
    fields = json.loads(output.rstrip().rpartition("\n")[2])
    failures = {name: fields[name] for name in ("connect", "read", "write", "status", "timeout") if fields[name]}
    if failures or not fields["requests"]:
        raise LoadFailed(f"{fields['requests']} requests; failures: {failures}")
    return Load(fields["requests"] / fields["microseconds"] * 1e6, fields["median"] / 1e6, fields["p99"] / 1e6)
