import shutil

import pytest

from benchmarks import h2load, pictures
from benchmarks.machine import BenchmarkError


def test_its_log_is_read_in_the_order_of_sending() -> None:
    log = "1700000000500000\t503\t1200\n1700000000000000\t200\t90000\n1700000001000000\t-1\t7\n"
    assert h2load.parse(log) == [
        h2load.Answer(0, 200, 0.09),
        h2load.Answer(0.5, 503, 0.0012),
        h2load.Answer(1, -1, 0.000007),
    ]


def test_a_missing_h2load_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BenchmarkError, match="apt-get install nghttp2-client"):
        h2load.find()


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_it_offers_the_body_at_a_rate_and_keeps_every_answer(server) -> None:
    body = pictures.multipart(pictures.tile())
    answers = h2load.offer(f"{server.url}/predict", body, rate=200, seconds=1, connections=4, core=0)
    assert [answer.status for answer in answers] == [200] * 200
    assert answers[0].at == 0
    assert 0.5 < answers[-1].at < 30, "at its rate, and not all at once"
    assert all(answer.seconds > 0 for answer in answers)


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
def test_a_server_that_is_not_there_fails_the_load() -> None:
    with pytest.raises(BenchmarkError):
        h2load.offer("http://127.0.0.1:9/predict", pictures.raw(b"abc"), rate=20, seconds=1, connections=2, core=0)
