import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.connection import answers, connect, request
from tests.support.decoders import stalled_decoders
from tests.support.service import KEY, WITH_KEY, Server, serving
from tests.support.waiting import wait_until

LINGER_ON_CLOSE, RESET_ON_CLOSE = bytes(8), b"\1\0\0\0\0\0\0\0"


@pytest.fixture
def stalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A service whose decoders of large images wait until the test has ended."""
    with serving(Settings(home=tmp_path / "home", workers=1)) as found, stalled_decoders(monkeypatch):
        yield found


def form(*images: bytes) -> tuple[bytes, bytes]:
    """Headers and body of a batch."""
    parts = [b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n' + image + b"\r\n" for image in images]
    return b"Content-Type: multipart/form-data; boundary=x\r\n", b"".join(parts) + b"--x--\r\n"


@pytest.mark.parametrize("ending", [LINGER_ON_CLOSE, RESET_ON_CLOSE])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_client_that_disconnects_ends_the_work_of_its_request(
    path: str, ending: bytes, stalled: Server, seven, encode
) -> None:
    batcher = stalled.app.state.inference.batcher
    large, tile = encode(seven.resize((600, 600))), encode(seven.resize((28, 28)))
    headers, body = (b"", large) if path == "/predict" else form(large, tile, large)
    with connect(stalled) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ending)
        connection.sendall(request(body, headers, method=b"POST " + path.encode()))
        wait_until(lambda: batcher.admitted > 0)
    wait_until(lambda: batcher.admitted == 0)
    counted = f'inkling_requests_total{{method="POST",route="{path}",status="499"}} 1.0'
    wait_until(lambda: counted in stalled.client.get("/metrics").text)
    assert stalled.predict(tile)["digit"] == 7


def test_a_client_that_disconnects_ends_the_work_also_if_much_of_its_body_came_last(stalled: Server) -> None:
    """uvicorn stops reading when so much arrives, and goes on when the application asks for more."""
    batcher, gate = stalled.app.state.inference.batcher, threading.Event()
    message = request(bytes(200_000))
    with connect(stalled) as connection:
        connection.sendall(message[:1000])
        wait_until(lambda: stalled.app.body_budget.held > 0)
        stalled.loop.call_soon_threadsafe(gate.wait, 30)
        connection.sendall(message[1000:])
        gate.set()
        wait_until(lambda: batcher.admitted > 0)
    wait_until(lambda: batcher.admitted == 0, seconds=10)


def test_a_client_that_only_sends_no_more_keeps_its_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seven, encode
) -> None:
    """The interim response, by which the service finds out, comes before the answer."""
    with (
        serving(Settings(home=tmp_path / "home", workers=1)) as server,
        stalled_decoders(monkeypatch) as gate,
        connect(server) as connection,
    ):
        connection.sendall(request(encode(seven.resize((600, 600)))))
        connection.shutdown(socket.SHUT_WR)
        assert answers(connection, 1) == [(100, {})]
        gate.set()
        [(status, body)] = answers(connection, 1)
        assert (status, body["digit"]) == (200, 7)
        assert connection.recv(1) == b""


def test_a_client_that_leaves_a_bad_image_behind_causes_no_line_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seven, encode, caplog: pytest.LogCaptureFixture
) -> None:
    picture, blank = (encode(image.resize((600, 600))) for image in (seven, seven.point(lambda _: 255)))
    with serving(Settings(home=tmp_path / "home", workers=1)) as server, stalled_decoders(monkeypatch) as gate:
        batcher = server.app.state.inference.batcher
        with connect(server) as connection:
            connection.sendall(request(blank))
            wait_until(lambda: batcher.admitted > 0)
        wait_until(lambda: batcher.admitted == 0)
        gate.set()
        assert server.predict(picture)["digit"] == 7
        gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_client_that_follows_no_more_frees_its_stream(tmp_path: Path) -> None:
    with serving(Settings(home=tmp_path / "home", api_key=KEY)) as server:
        job = server.client.post("/retrain", json={"use_feedback": False}, headers=WITH_KEY).json()
        streams = server.app.state.job_events._streams
        with connect(server) as connection:
            connection.sendall(request(b"", method=f"GET /retrain/{job['id']}/events".encode()))
            received = b""
            while b"event: job" not in received:
                received += connection.recv(4096)
            assert streams
        wait_until(lambda: not streams, seconds=10)  # sooner than the stream's next comment finds out


@pytest.mark.processes
def test_a_client_that_disconnects_ends_the_process_that_decodes_its_image(tmp_path: Path, seven, encode) -> None:
    data = encode(seven, "TIFF")
    with serving(Settings(home=tmp_path / "home")) as server:
        assert server.predict(data)["digit"] == 7
        inference = server.app.state.inference
        process = inference.decoders._process._process
        os.kill(process.pid, signal.SIGSTOP)
        with connect(server) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            connection.sendall(request(data))
            wait_until(lambda: inference.decoders._turns._taken)
        wait_until(lambda: process.returncode == -signal.SIGKILL)
        assert server.predict(data)["digit"] == 7


def test_a_client_that_disconnects_from_another_call_changes_nothing(stalled: Server, seven, encode) -> None:
    """POST /page/tile goes on: only predictions are cancelled."""
    batcher = stalled.app.state.inference.batcher
    with connect(stalled) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        connection.sendall(request(encode(seven.resize((600, 600))), method=b"POST /page/tile"))
        wait_until(lambda: batcher.admitted == 1)
    stalled.client.get("/health/live")
    assert batcher.admitted == 1
