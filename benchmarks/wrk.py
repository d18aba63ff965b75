"""wrk, a load generator in C: a closed loop that keeps one request in flight on each connection."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import program
from benchmarks.pictures import Body

# wrk builds a request without a `request` function once. `done` prints exact figures; wrk itself rounds them.
_SCRIPT = """
local file = assert(io.open("{body}", "rb"))
wrk.method = "POST"
wrk.headers["Content-Type"] = "{content_type}"
wrk.body = file:read("*a")
file:close()

function done(summary, latency, requests)
   io.write(string.format(
      '\\n{{"requests":%d,"microseconds":%d,"median":%d,"p99":%d,' ..
      '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
      summary.errors.connect, summary.errors.read, summary.errors.write,
      summary.errors.status, summary.errors.timeout))
end
"""


class LoadFailed(Exception):
    """A request had no answer, or one whose status is not 2xx."""


@dataclass(frozen=True)
class Load:
    """rate: answers per second; median, p99: latencies in seconds."""

    rate: float
    median: float
    p99: float


def find() -> str:
    """Raises BenchmarkError if wrk is not installed."""
    return program("wrk")


def script(folder: Path, name: str, body: Body) -> Path:
    """Writes the script that sends this body."""
    data, path = folder / f"{name}.body", folder / f"{name}.lua"
    data.write_bytes(body.data)
    path.write_text(_SCRIPT.format(body=data, content_type=body.content_type))
    return path


def run(url: str, path: Path, connections: int, seconds: int, cores: set[int]) -> Load:
    """Raises LoadFailed if an answer is missing or its status is not 2xx."""
    found = subprocess.run(command(url, path, connections, seconds, cores), capture_output=True, text=True)
    if found.returncode != 0:
        raise LoadFailed(f"wrk ended with {found.returncode}: {found.stderr.strip() or found.stdout.strip()}")
    return parse(found.stdout)


def command(url: str, path: Path, connections: int, seconds: int, cores: set[int]) -> list[str]:
    bound = ["taskset", "-c", ",".join(map(str, sorted(cores)))]
    return [*bound, find(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(path), url]


def parse(output: str) -> Load:
    """Reads the last line of the output, which the script writes. Raises LoadFailed."""
    fields = json.loads(output.rstrip().rpartition("\n")[2])
    failures = {name: fields[name] for name in ("connect", "read", "write", "status", "timeout") if fields[name]}
    if failures:
        told = ", ".join(f"{name}: {count}" for name, count in failures.items())
        raise LoadFailed(f"{fields['requests']} requests, of which some failed ({told})")
    if not fields["requests"]:
        raise LoadFailed("no request was answered")
    return Load(
        rate=fields["requests"] / fields["microseconds"] * 1e6,
        median=fields["median"] / 1e6,
        p99=fields["p99"] / 1e6,
    )
