import socket
from collections.abc import Iterator

import httpx
import pytest

from app.processes import standby
from app.processes.sockets import listen
from app.processes.standby import Standby
from tests.support.service import check_problem, closing
from tests.support.waiting import wait_until


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    with closing(listen("127.0.0.1", 0)) as sockets:
        yield sockets


@pytest.fixture
def url(listening: list[socket.socket]) -> Iterator[str]:
    answering = Standby(listening)
    yield f"http://127.0.0.1:{listening[0].getsockname()[1]}"
    answering.stop()


@pytest.mark.parametrize("method, body", [("GET", b""), ("POST", b"x"), ("POST", b"x" * 3_000_000), ("DELETE", b"")])
def test_every_request_is_refused(method: str, body: bytes, url: str) -> None:
    answer = httpx.request(method, f"{url}/any/path", content=body, timeout=30)
    check_problem(answer, 503, "not-ready")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["connection"] == "close"


def test_head_is_refused_without_a_body(url: str) -> None:
    answer = httpx.head(f"{url}/health/ready", timeout=30)
    assert (answer.status_code, answer.content) == (503, b"")


def test_clients_that_stay_silent_or_never_close_make_room_for_others(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "SECONDS", 0.2)
    monkeypatch.setattr(standby, "MAX_CONNECTIONS", 2)
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    silent = [socket.create_connection(address, timeout=30) for _ in range(4)]
    for one in silent[:2]:
        one.sendall(b"GET / HTTP/1.1\r\n")
    check_problem(httpx.get(url, timeout=30), 503, "not-ready")
    for one in silent:
        with one:
            while one.recv(65536):
                pass


def test_it_stops_accepting_and_leaves_the_sockets_to_the_workers(listening: list[socket.socket]) -> None:
    Standby(listening).stop()
    with socket.create_connection(listening[0].getsockname()[:2], timeout=30):
        accepted: list[socket.socket] = []

        def accept() -> bool:
            try:
                accepted.append(listening[0].accept()[0])
            except BlockingIOError:
                return False
            return True

        wait_until(accept)
        accepted[0].close()
