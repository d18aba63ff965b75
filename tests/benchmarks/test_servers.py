import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.machine import BenchmarkError
from benchmarks.pictures import raw
from benchmarks.servers import Server, free_port
from tests.support.waiting import wait_until

# A server that starts a child in a session of the child's own; neither heeds SIGTERM if told so.
_FAMILY = """
import http.server, signal, subprocess, sys

port, deaf = int(sys.argv[1]), sys.argv[2] == "deaf"
if deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

print("started", flush=True)
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(how: str = "polite") -> Server:
        script, port = tmp_path / "family.py", free_port()
        script.write_text(_FAMILY)
        cores = {min(os.sched_getaffinity(0))}
        server = Server("family", [sys.executable, str(script), str(port), how], port, tmp_path, cores)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(0)


def test_all_its_processes_are_found_measured_and_bound(family) -> None:
    server = family()
    assert server.first_answer("/", raw(b"abc")).status_code == 200
    members = server.members()
    assert len(members) == 2
    assert members[-1] == server.process.pid
    assert set(server.memory()) == set(members)
    assert min(server.memory().values()) > 1e6
    assert server.cpu_seconds() > 0
    assert all(len(os.sched_getaffinity(pid)) == 1 for pid in members)


def test_halted_processes_do_nothing_until_they_are_resumed(family) -> None:
    server = family()
    server.first_answer("/", raw(b"abc"))
    server.halt()
    wait_until(lambda: all(_state(pid) == "T" for pid in server.members()))
    server.resume()
    assert server.ask("/", raw(b"abc")).status_code == 200


@pytest.mark.parametrize(("how", "status"), [("polite", -signal.SIGTERM), ("deaf", None)])
def test_nothing_is_left_of_a_stopped_server(family, how: str, status: int | None) -> None:
    server = family(how)
    server.first_answer("/", raw(b"abc"))
    members = server.members()
    assert server.stop(5 if how == "polite" else 0.1) == status
    wait_until(lambda: all(_state(pid) in ("", "Z") for pid in members))


def test_a_server_that_ends_is_told_with_its_log(tmp_path: Path) -> None:
    server = Server("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], free_port(), tmp_path, {0})
    started = time.monotonic()
    with pytest.raises(BenchmarkError, match=r"broken did not answer(.|\n)*no such thing"):
        server.first_answer("/", raw(b"abc"), seconds=60)
    assert time.monotonic() - started < 50
    assert server.stop() == 1


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
