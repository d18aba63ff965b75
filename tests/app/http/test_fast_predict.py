"""Which requests take the fast path, and whether it answers as FastAPI's route does."""

import socket
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.http import fast_predict
from app.observability.access_log import AccessLog
from app.settings import Settings
from tests.support.connection import answers, connect, request
from tests.support.service import Server, check_problem, serving
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"))) as found:
        yield found


@pytest.fixture(scope="module")
def without_fast_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"))) as found:
        found.app.fast_predict = None
        yield found


@pytest.fixture
def routed(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the requests that the application was asked to answer."""
    paths: list[str] = []
    watch = AccessLog.watch

    async def noted(self, app, scope, receive, send) -> None:
        paths.append(scope["path"])
        await watch(self, app, scope, receive, send)

    monkeypatch.setattr(AccessLog, "watch", noted)
    return paths


@pytest.fixture(scope="module")
def tile(seven: Image.Image, encode) -> bytes:
    return encode(seven.resize((28, 28)))


def test_one_small_image_that_comes_as_a_whole_takes_the_fast_path(
    server: Server, tile: bytes, seven: Image.Image, encode, routed: list[str]
) -> None:
    for body in (
        {"files": {"file": tile}},
        {"files": {"image": ("a.png", tile, "image/png")}},
        {"content": tile},
        {"content": tile, "headers": {"Content-Type": "application/octet-stream"}},
        {"files": {"file": encode(seven.resize((30, 32)))}},
    ):
        answer = server.client.post("/predict", **body)
        assert (answer.status_code, answer.json()["digit"]) == (200, 7)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
    assert routed == []


def test_every_other_request_takes_the_route(server: Server, tile: bytes, encode, seven, routed: list[str]) -> None:
    server.client.post("/predict", files={"file": encode(seven.resize((1000, 1000)))})
    server.client.post("/predict", files={"wrong": tile})
    server.client.post("/predict?x=1", content=tile)
    server.client.post("/predict")
    server.client.get("/health")
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = request(tile)
        connection.sendall(message[:-5])
        wait_until(lambda: len(routed) == 6)  # a body is not held back for long
        connection.sendall(message[-5:])
        assert answers(connection, 1)[0][0] == 200
    assert routed == ["/predict"] * 4 + ["/health", "/predict"]


def test_it_can_be_switched_off(without_fast_path: Server, tile: bytes, routed: list[str]) -> None:
    assert without_fast_path.predict(tile)["digit"] == 7
    assert routed == ["/predict"]


def test_it_is_taken_below_a_root_path_that_the_proxy_strips_or_leaves(
    tmp_path: Path, tile: bytes, routed: list[str]
) -> None:
    with serving(Settings(home=tmp_path / "home", root_path="/digits")) as found:
        for path in ("/predict", "/digits/predict"):
            assert found.client.post(path, content=tile).json()["digit"] == 7
    assert routed == []


def png(pixels: np.ndarray, encode) -> bytes:
    return encode(Image.fromarray(pixels))


def _tile() -> np.ndarray:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[4:24, 12:16] = 255
    return pixels


CONTENT_TYPES = st.sampled_from(
    [
        None,
        *("image/png", "application/octet-stream", "text/plain", "image/*; q=1"),
        *("multipart/form-data; boundary=x", 'multipart/form-data; boundary="x"', "multipart/form-data"),
        *("Multipart/Form-Data; boundary=x", "multipart/form-data;boundary=y", "application/x-www-form-urlencoded"),
    ]
)
NAMES = st.sampled_from([b'name="file"', b'name="image"; filename="a.png"', b'name="other"', b"name=file", b""])


@st.composite
def images(draw: st.DrawFn, whole: bytes) -> bytes:
    """A small PNG as it is, with a byte altered and perhaps its checksums mended, cut short, or other bytes."""
    data = bytearray(whole)
    match draw(st.sampled_from(["whole", "altered", "mended", "cut", "other"])):
        case "altered":
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        case "mended":
            data[draw(st.integers(16, 28))] = draw(st.sampled_from([0, 1, 2, 3, 4, 6, 8, 16, 28, 64, 255]))
            data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        case "cut":
            del data[draw(st.integers(0, len(data))) :]
        case "other":
            data = bytearray(draw(st.binary(max_size=40)))
    return bytes(data)


@st.composite
def bodies(draw: st.DrawFn, whole: bytes) -> bytes:
    image = draw(images(whole))
    if draw(st.booleans()):
        return image
    parts = [
        b"--x\r\nContent-Disposition: form-data; " + draw(NAMES) + b"\r\n\r\n" + data + b"\r\n"
        for data in [image, b"more"][: draw(st.integers(0, 2))]
    ]
    return b"".join(parts) + draw(st.sampled_from([b"--x--\r\n", b"--x--", b"--x\r\n", b""]))


def test_it_answers_as_the_route_does(server: Server, without_fast_path: Server, encode) -> None:
    whole = png(_tile(), encode)

    @settings(max_examples=150, deadline=None)
    @given(bodies(whole), CONTENT_TYPES)
    def check(body: bytes, content_type: str | None) -> None:
        headers = {} if content_type is None else {"Content-Type": content_type}
        fast, route = (
            one.client.post("/predict", content=body, headers=headers) for one in (server, without_fast_path)
        )
        assert (fast.status_code, fast.content) == (route.status_code, route.content)
        assert names_and_values(fast) == names_and_values(route)

    check()


def names_and_values(answer: httpx.Response) -> dict[str, str]:
    """The headers, without those that differ from one request to the next."""
    return {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}


def test_its_problems_are_those_of_the_route(server: Server, tile: bytes, encode, routed: list[str]) -> None:
    check_problem(server.client.post("/predict", content=tile[: len(tile) // 2]), 422, "corrupt-picture")
    blank = encode(Image.new("L", (28, 28)))
    check_problem(server.client.post("/predict", files={"file": blank}), 422, "nothing-drawn")
    with server.full():
        answer = server.client.post("/predict", files={"file": tile}, headers={"X-Request-ID": "mine"})
        check_problem(answer, 503, "overloaded", "INKLING_MAX_CONCURRENT_IMAGES=256")
        assert (answer.headers["retry-after"], answer.headers["x-request-id"]) == ("1", "mine")
    assert server.predict(tile)["digit"] == 7
    assert routed == []


def test_a_pipelined_request_waits_for_the_fast_one_before_it(server: Server, tile: bytes, routed: list[str]) -> None:
    with connect(server) as connection:
        connection.sendall(request(tile) + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + request(tile))
        first, live, last = answers(connection, 3)
    assert (first[1]["digit"], live[1]["status"], last[1]["digit"]) == (7, "live", 7)
    assert "/health/live" in routed


def test_the_connection_is_closed_where_the_client_asks_for_it(server: Server, tile: bytes, routed: list[str]) -> None:
    with connect(server) as connection:
        connection.sendall(request(tile, b"Connection: close\r\n"))
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert b"\r\nconnection: close\r\n" in received.lower()
    assert routed == []


def test_an_unexpected_error_before_the_forward_pass_is_left_to_the_route(
    server: Server, tile: bytes, monkeypatch: pytest.MonkeyPatch, routed: list[str]
) -> None:
    def fail(data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.app.state.inference.decoders, "decode_small", fail)
    check_problem(server.client.post("/predict", content=tile), 500, "internal-error")
    assert routed == ["/predict"]
    assert server.app.state.inference.batcher.admitted == 0


def test_an_unexpected_error_after_the_forward_pass_is_an_internal_error(
    server: Server, tile: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(fast_predict, "prediction_json", fail)
    check_problem(server.client.post("/predict", content=tile), 500, "internal-error")


def test_a_closed_batcher_is_not_ready(tmp_path: Path, tile: bytes) -> None:
    with serving(Settings(home=tmp_path / "home")) as found:
        batcher = found.app.state.inference.batcher
        batcher._closing = True
        try:
            check_problem(found.client.post("/predict", content=tile), 503, "not-ready")
            assert batcher.admitted == 0
        finally:
            batcher._closing = False


def test_a_body_in_very_many_pieces_is_handed_over(server: Server, tile: bytes, routed: list[str]) -> None:
    """A body is held back for a limited time and up to a limited size."""
    pieces = 70_000
    with connect(server) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + b"1\r\nX\r\n" * pieces + b"0\r\n\r\n")
        assert answers(connection, 1)[0][0] == 415
    assert routed == ["/predict"]


def test_many_pipelined_requests_are_not_a_long_head(server: Server) -> None:
    count = 3000
    with connect(server) as connection:
        sender = threading.Thread(target=connection.sendall, args=[request(b"no picture") * count])
        sender.start()
        assert {status for status, _ in answers(connection, count)} == {415}
        sender.join()
