"""h2load, a load generator in C++ that offers requests at a fixed rate and keeps each one's status and time."""

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import BenchmarkError, program
from benchmarks.pictures import Body

_PERIOD_MS = 10
_PATIENCE = 15


@dataclass(frozen=True)
class Answer:
    """at: seconds since the first request of all was sent; status: -1 without an answer; seconds: to its end."""

    at: float
    status: int
    seconds: float


def find() -> str:
    """Raises BenchmarkError when h2load is not installed."""
    return program("h2load", "nghttp2-client")


def offer(url: str, body: Body, rate: float, seconds: float, connections: int, core: int) -> list[Answer]:
    """Sends so many a second over HTTP/1.1, whether or not answers come, as long as a connection is free for it.

    Connections are opened evenly over the time between two requests of one, so that they take turns: all at once they
    would send all at once, ever again. Raises BenchmarkError when h2load fails, or an answer is missing.
    """
    each = max(2, round(rate * seconds / connections))
    a_period = max(1, round(rate * _PERIOD_MS / 1000))
    with tempfile.TemporaryDirectory(prefix="inkling-h2load-") as folder:
        data, log = Path(folder) / "body", Path(folder) / "log"
        data.write_bytes(body.data)
        options = {
            "--clients": connections,
            "--requests": each * connections,
            "--rps": f"{rate / connections:.3f}",
            "--rate": a_period,
            "--rate-period": f"{_PERIOD_MS}ms",
            "--connection-inactivity-timeout": f"{_PATIENCE}s",
            "--header": f"content-type: {body.content_type}",
            "--data": data,
            "--log-file": log,
        }
        given = [f"{name}={value}" for name, value in options.items()]
        bound = ["taskset", "-c", str(core), find(), "--h1", *given, url]
        ended = subprocess.run(bound, capture_output=True, text=True, timeout=seconds + 4 * _PATIENCE)
        if ended.returncode != 0:
            raise BenchmarkError(
                f"h2load ended with {ended.returncode}: {ended.stderr.strip() or ended.stdout.strip()}"
            )
        answers = parse(log.read_text())
    if len(answers) < each * connections:
        raise BenchmarkError(f"h2load sent {each * connections} requests and tells of {len(answers)} answers")
    return answers


def parse(log: str) -> list[Answer]:
    """The lines of its log, in the order in which they were sent: microseconds since 1970, status, microseconds."""
    fields = (line.split() for line in log.splitlines())
    found = sorted((int(started), int(status), int(taken)) for started, status, taken in fields)
    return [Answer((started - found[0][0]) / 1e6, status, taken / 1e6) for started, status, taken in found]
