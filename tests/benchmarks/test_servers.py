import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.machine import BenchmarkError
from benchmarks.pictures import raw
from benchmarks.servers import Server, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

# A server with a child in a session of its own. With `deaf` both ignore SIGTERM.
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


def test_a_server_finds_measures_and_binds_all_its_processes(family) -> None:
    server = family()
    assert server.first_answer("/", raw(b"abc")).status_code == 200
    members = server.members()
    assert len(members) == 2
    assert members[0].pid == server.process.pid
    assert len(server.memory()) == 2
    assert min(server.memory()) > 1e6
    assert 0 < sum(server.memory("pss")) <= sum(server.memory())
    assert server.cpu_seconds() > 0
    assert all(len(process.cpu_affinity()) == 1 for process in members)


def test_an_orphan_still_belongs_to_its_server(family) -> None:
    server = family()
    server.first_answer("/", raw(b"abc"))
    (_, child) = server.members()
    server.process.kill()
    server.process.wait()
    assert server.members() == [child]


def test_halted_processes_are_stopped_until_they_are_resumed(family) -> None:
    server = family()
    server.first_answer("/", raw(b"abc"))
    server.halt()
    wait_until(lambda: all(process.status() == psutil.STATUS_STOPPED for process in server.members()))
    server.resume()
    assert server.ask("/", raw(b"abc")).status_code == 200


@pytest.mark.parametrize(("how", "status"), [("polite", -signal.SIGTERM), ("deaf", None)])
def test_stopping_a_server_ends_all_its_processes(family, how: str, status: int | None) -> None:
    server = family(how)
    server.first_answer("/", raw(b"abc"))
    members = server.members()
    assert server.stop(5 if how == "polite" else 0.1) == status
    gone, alive = psutil.wait_procs(members, timeout=60)
    assert set(gone) == set(members)
    assert alive == []


def test_the_error_for_a_server_that_ends_shows_its_log(tmp_path: Path) -> None:
    server = Server("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], free_port(), tmp_path, {0})
    started = time.monotonic()
    with pytest.raises(BenchmarkError, match=r"broken did not answer(.|\n)*no such thing"):
        server.first_answer("/", raw(b"abc"))
    assert time.monotonic() - started < 50
    assert server.stop() == 1
