import shutil

import pytest

from benchmarks import pictures, wrk
from benchmarks.machine import BenchmarkError

# The output of wrk 4.1.0 for a server on loopback, and for one that refused some requests and closed connections.
GOOD = (
    b"Running 1s test @ http://127.0.0.1:9250/predict\n  1 threads and 4 connections\n"
    b"  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   641.00us    1.17ms   9.60ms   86.82%\n"
    b"    Req/Sec    23.12k    10.17k   36.35k    60.00%\n  23096 requests in 1.01s, 0.88MB read\n"
    b"Requests/sec:  22926.57\nTransfer/sec:      0.87MB\n\n"
    b'{"requests":23096,"microseconds":1007390,"median":107,"p99":5080,'
    b'"connect":0,"read":0,"write":0,"status":0,"timeout":0}\n'
)
BAD = (
    b"Running 1s test @ http://127.0.0.1:9250/predict\n  1 threads and 4 connections\n"
    b"  Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     0.86ms    1.81ms  20.28ms   88.92%\n"
    b"    Req/Sec    20.70k    10.25k   35.68k    72.73%\n  22667 requests in 1.10s, 0.86MB read\n"
    b"  Socket errors: connect 0, read 68, write 0, timeout 0\n  Non-2xx or 3xx responses: 453\n"
    b"Requests/sec:  20610.41\nTransfer/sec:    805.09KB\n\n"
    b'{"requests":22667,"microseconds":1099784,"median":108,"p99":7847,'
    b'"connect":0,"read":68,"write":0,"status":453,"timeout":0}\n'
)


def test_figures_are_read_from_the_last_line() -> None:
    load = wrk.parse(GOOD.decode())
    assert load.rate == pytest.approx(22926.57, abs=0.01)  # as wrk's own line says
    assert (load.median, load.p99) == (107e-6, 5080e-6)


def test_one_failed_request_fails_the_load() -> None:
    with pytest.raises(wrk.LoadFailed, match="'read': 68, 'status': 453"):
        wrk.parse(BAD.decode())


def test_a_load_without_an_answer_fails() -> None:
    with pytest.raises(wrk.LoadFailed, match="0 requests"):
        wrk.parse(GOOD.decode().replace('"requests":23096', '"requests":0'))


def test_the_error_for_a_missing_wrk_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchmarkError, match="apt-get install wrk"):
        wrk.find()


@pytest.mark.services
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_the_body_and_its_type(server) -> None:
    body = pictures.multipart(pictures.tile())
    load = wrk.run(f"{server.url}/predict", body, connections=2, seconds=1, cores={0})
    assert load.rate > 0
    assert 0 < load.median <= load.p99
    with pytest.raises(wrk.LoadFailed, match="status"):
        wrk.run(f"{server.url}/nowhere", body, connections=2, seconds=1, cores={0})
