import contextlib
import gzip
import socket
import zlib
from pathlib import Path

import pytest
from PIL import Image

from app.http import body
from app.http.body_budget import LARGE_BODIES
from app.settings import Settings
from tests.support.connection import answers, connect
from tests.support.service import Server, check_problem, serving
from tests.support.waiting import wait_until


def test_further_fields_beside_the_image_are_ignored(server: Server, seven: Image.Image, encode) -> None:
    answer = server.client.post("/predict", files={"file": encode(seven)}, data={"comment": "mine"})
    assert answer.status_code == 200


def test_a_body_over_the_limit_is_refused_and_the_client_gets_the_answer(server: Server) -> None:
    for request in ({"content": bytes(20_000_000)}, {"content": iter([bytes(50_000)] * 400)}):
        answer = server.client.post("/predict", **request)
        body = check_problem(answer, 413, "body-too-large", "INKLING_MAX_UPLOAD_BYTES=10,485,760")
        assert body["limit"] == 10_485_760


def test_a_wrong_field_is_refused_with_the_names_of_the_right_ones(server: Server, seven: Image.Image, encode) -> None:
    answer = server.client.post("/predict", files={"picture": encode(seven), "b": b"x"})
    body = check_problem(answer, 422, "wrong-field", "'file'", "'image'", "'picture', 'b'")
    assert body["field"] == "file"


def test_two_images_are_refused(server: Server, seven: Image.Image, encode) -> None:
    answer = server.client.post("/predict", files=[("file", encode(seven)), ("file", encode(seven))])
    check_problem(answer, 422, "wrong-field", "one field", "'file', 'file'")


def test_a_multipart_body_without_parts_is_refused(server: Server) -> None:
    answer = server.client.post(
        "/predict", content=b"--x--\r\n", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    check_problem(answer, 422, "wrong-field", "no field at all")


@pytest.mark.parametrize(
    "content_type, body",
    [
        ("multipart/form-data", b"--x\r\n"),
        (f"multipart/form-data; boundary={'x' * 300}", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary in here"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc'),
        ("multipart/form-data; boundary=x", b"--x\r\nno colon here\r\n\r\nabc\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 5000 + b"\r\nabc\r\n--x--\r\n"),
    ],
)
def test_malformed_multipart_is_400(content_type: str, body: bytes, server: Server) -> None:
    answer = server.client.post("/predict", content=body, headers={"content-type": content_type})
    check_problem(answer, 400, "malformed-multipart")


def test_too_many_parts_are_refused(server: Server) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * 100_000 + b"--x--\r\n"
    answer = server.client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(answer, 400, "malformed-multipart", "more than 100 parts")
    body = part * 90 + b"--x--\r\n"
    answer = server.client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(answer, 422, "wrong-field", "and 80 more")


def test_a_part_without_a_name_is_refused(server: Server) -> None:
    body = b"--x\r\nContent-Type: image/png\r\n\r\nabc\r\n--x--\r\n"
    answer = server.client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(answer, 422, "wrong-field", "got a part without a name")


def test_a_request_with_an_upgrade_offer_keeps_its_body(server: Server, seven: Image.Image, encode) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAA"}
    answer = server.client.post("/predict", content=encode(seven), headers=headers)
    assert (answer.status_code, answer.json().get("digit")) == (200, 7), answer.text


def test_a_urlencoded_form_is_refused_with_the_right_curl_command(server: Server) -> None:
    answer = server.client.post("/predict", data={"file": "digit.png"})
    check_problem(answer, 415, "urlencoded-form", "curl -F file=@digit.png", "--data-binary")


def test_an_empty_body_is_refused(server: Server) -> None:
    check_problem(server.client.post("/predict"), 400, "empty-body")
    check_problem(server.client.post("/predict", files={"file": b""}), 400, "empty-body", "'file'")


def test_a_body_that_does_not_arrive_in_time_is_408(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.2)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/body-timeout" in answer
    assert b"3 bytes had arrived" in answer


def test_a_client_that_leaves_in_the_middle_of_a_body_does_no_harm(server: Server, seven: Image.Image, encode) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert server.predict(encode(seven))["digit"] == 7


def test_a_body_over_the_limit_is_not_asked_for(server: Server) -> None:
    with connect(server) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20000000\r\n\r\n"
        connection.sendall(head)
        [(status, found)] = answers(connection, 1)
        assert (status, found["type"]) == (413, "/problems/body-too-large")
        assert connection.recv(1) == b""


@pytest.mark.parametrize("side", [28, 280])
def test_a_compressed_body_is_undone(side: int, server: Server, seven: Image.Image, encode) -> None:
    picture = encode(seven.resize((side, side)))
    form = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    bodies = {"image/png": picture, "multipart/form-data; boundary=x": form}
    encoders = {"gzip": gzip.compress, "X-GZip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    for kind, content in bodies.items():
        for encoding, encoder in encoders.items():
            headers = {"Content-Type": kind, "Content-Encoding": encoding}
            answer = server.client.post("/predict", content=encoder(content), headers=headers)
            assert (answer.status_code, answer.json().get("digit")) == (200, 7), answer.text


def test_a_compressed_body_is_limited_and_checked(server: Server) -> None:
    def post(content: bytes, encoding: str = "gzip"):
        return server.client.post("/predict", content=content, headers={"Content-Encoding": encoding})

    whole = gzip.compress(bytes(1000))
    check_problem(post(gzip.compress(bytes(100_000_000), 1)), 413, "body-too-large", "INKLING_MAX_UPLOAD_BYTES")
    for damaged in (whole[:-1], whole + b"more", whole * 2, b"plain", whole[:12] + b"x" + whole[13:]):
        check_problem(post(damaged), 400, "bad-request", "gzip")
    for encoding in ("br", "zstd", "gzip, gzip", "deflate, gzip"):
        check_problem(post(whole, encoding), 415, "unknown-encoding", encoding, "gzip or deflate")


def test_bodies_in_flight_have_a_bound_that_leaves_room_for_small_ones(
    tmp_path: Path, seven: Image.Image, encode
) -> None:
    most, part = 100_000, bytes(95_000)
    length = b"Content-Length: %d\r\n" % most
    chunks = b"Transfer-Encoding: chunked\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\n%b\r\n"
    with serving(Settings(home=tmp_path / "home", max_upload_bytes=most)) as server:
        budget = server.app.body_budget
        with contextlib.ExitStack() as stack:
            for number in range(LARGE_BODIES):
                begun = head % length + part if number % 2 else head % chunks + b"%x\r\n" % len(part) + part
                stack.enter_context(connect(server)).sendall(begun)
            wait_until(lambda: budget.held == LARGE_BODIES * len(part))
            with connect(server) as connection:
                connection.sendall(head % length)
                [(status, found)] = answers(connection, 1)  # before the body is sent
                assert (status, found["type"]) == (503, "/problems/overloaded")
            with connect(server) as connection:
                connection.sendall(head % chunks + b"%x\r\n" % len(part) + part)
                assert answers(connection, 1)[0][0] == 503
            small = encode(seven.resize((28, 28)))
            for headers in ({}, {"Content-Encoding": "identity"}):  # the fast path, and the route
                assert server.client.post("/predict", content=small, headers=headers).json()["digit"] == 7
        wait_until(lambda: budget.held == 0)
        assert server.client.post("/predict", content=part).status_code == 415
