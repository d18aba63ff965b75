import socket

import pytest
from PIL import Image

from app.http import body
from tests.support.service import Server, check_problem


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
