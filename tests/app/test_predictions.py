import socket
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app import uploads
from app.settings import Settings
from tests.conftest import Server, running


def check_problem(answer: httpx.Response, status: int, name: str, *words: str) -> dict[str, Any]:
    """A problem as RFC 9457 has it: nothing but JSON of that type, and no trace of our insides."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"/problems/{name}"
    assert body["status"] == status
    assert body["title"]
    for word in words:
        assert word in body["detail"]
    assert "Traceback" not in answer.text
    return body


def test_the_digit_comes_back_with_all_that_belongs_to_it(server: Server, seven: Image.Image, encode) -> None:
    body = server.predict(encode(seven))
    assert list(body) == ["digit", "confidence", "probabilities", "verdict", "model", "steps"]
    assert body["digit"] == 7
    assert body["confidence"] == max(body["probabilities"]) == body["probabilities"][7]
    assert sum(body["probabilities"]) == pytest.approx(1, abs=1e-9)
    assert body["verdict"] == "digit"
    assert body["model"] == "v1"
    assert body["steps"] == ["inverted", "cropped", "scaled", "centred"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_every_format_in_every_kind_of_body(kind: str, server: Server, seven: Image.Image, encode) -> None:
    picture = encode(seven, kind)
    requests: list[dict[str, Any]] = [
        {"files": {"file": picture}},
        {"files": {"image": ("seven", picture, "application/octet-stream")}},
        {"content": picture, "headers": {"content-type": f"image/{kind.lower()}"}},
        {"content": picture, "headers": {"content-type": "application/octet-stream"}},
        {"content": picture, "headers": {"content-type": "text/plain"}},
        {"content": picture},
        {"content": iter([picture[:100], picture[100:]])},
    ]
    for request in requests:
        answer = server.client.post("/predict", **request)
        assert (answer.status_code, answer.json().get("digit")) == (200, 7), answer.text


def test_other_fields_beside_the_picture_do_not_matter(server: Server, seven: Image.Image, encode) -> None:
    answer = server.client.post("/predict", files={"file": encode(seven)}, data={"comment": "mine"})
    assert answer.status_code == 200


def test_a_gif_with_many_frames_is_read_by_its_first(server: Server, seven: Image.Image, encode) -> None:
    blank = Image.new("L", seven.size, 255)
    assert server.predict(encode(seven, "GIF", save_all=True, append_images=[blank] * 50))["digit"] == 7


def test_transparent_and_turned_pictures_say_so(server: Server, seven: Image.Image, encode) -> None:
    ink = Image.new("RGBA", seven.size, (0, 0, 0, 0))
    ink.paste((20, 20, 60, 255), mask=Image.eval(seven, lambda level: 255 - level))
    exif = Image.Exif()
    exif[0x0112] = 3
    body = server.predict(encode(ink.rotate(180), exif=exif))
    assert body["digit"] == 7
    assert body["steps"][:2] == ["oriented", "alpha"]


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


BAD_PICTURES: dict[str, tuple[Callable[[bytes], bytes], int, str, list[str]]] = {
    "empty": (lambda _: b"", 400, "empty-body", ["curl"]),
    "text": (lambda _: b"I am no picture", 415, "unknown-format", ["text", "PNG, JPEG, BMP, GIF, WEBP, TIFF"]),
    "heic": (lambda _: HEIC, 415, "unknown-format", ["HEIC"]),
    "unknown bytes": (lambda _: bytes(range(256)), 415, "unknown-format", ["no picture that we know"]),
    "truncated": (lambda png: png[: len(png) // 2], 422, "corrupt-picture", ["PNG"]),
    "corrupt": (lambda png: png[:60] + bytes(40) + png[100:], 422, "corrupt-picture", ["PNG"]),
    "enormous": (lambda _: png_header(50_000, 50_000), 413, "too-many-pixels", ["50000 x 50000", "50,000,000"]),
}


@pytest.mark.parametrize("multipart", [True, False])
@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures(name: str, multipart: bool, server: Server, seven: Image.Image, encode) -> None:
    spoil, status, problem, words = BAD_PICTURES[name]
    data = spoil(encode(seven))
    answer = server.client.post("/predict", **({"files": {"file": data}} if multipart else {"content": data}))
    body = check_problem(answer, status, problem, *words)
    if problem == "too-many-pixels":
        assert body["limit"] == 50_000_000


@pytest.mark.parametrize("level", [0, 128, 255])
def test_nothing_drawn(level: int, server: Server, encode) -> None:
    answer = server.client.post("/predict", content=encode(Image.new("L", (100, 100), level)))
    check_problem(answer, 422, "nothing-drawn", "nothing is drawn")


def test_twenty_megabytes_are_refused_and_the_answer_arrives(server: Server) -> None:
    for request in ({"content": bytes(20_000_000)}, {"content": iter([bytes(50_000)] * 400)}):
        answer = server.client.post("/predict", **request)
        body = check_problem(answer, 413, "body-too-large", "INKLING_MAX_UPLOAD_BYTES=10,485,760")
        assert body["limit"] == 10_485_760


def test_the_wrong_field_is_answered_with_the_right_one(server: Server, seven: Image.Image, encode) -> None:
    answer = server.client.post("/predict", files={"picture": encode(seven), "b": b"x"})
    body = check_problem(answer, 422, "wrong-field", "'file'", "'image'", "'picture', 'b'")
    assert body["field"] == "file"


def test_two_pictures_are_not_one(server: Server, seven: Image.Image, encode) -> None:
    answer = server.client.post("/predict", files=[("file", encode(seven)), ("file", encode(seven))])
    check_problem(answer, 422, "wrong-field", "one field", "'file', 'file'")


def test_a_multipart_body_without_a_part(server: Server) -> None:
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
def test_malformed_multipart(content_type: str, body: bytes, server: Server) -> None:
    answer = server.client.post("/predict", content=body, headers={"content-type": content_type})
    check_problem(answer, 400, "malformed-multipart")


def test_a_flood_of_parts_is_cut_short(server: Server) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n'
    body = part * 100_000 + b"--x--\r\n"
    answer = server.client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(answer, 400, "malformed-multipart", "more than 100 parts")
    body = part * 90 + b"--x--\r\n"
    answer = server.client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(answer, 422, "wrong-field", "and 80 more")


def test_a_part_without_a_name(server: Server) -> None:
    body = b"--x\r\nContent-Type: image/png\r\n\r\nabc\r\n--x--\r\n"
    answer = server.client.post("/predict", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    check_problem(answer, 422, "wrong-field", "got a part without a name")


def test_an_offer_to_upgrade_keeps_its_body(server: Server, seven: Image.Image, encode) -> None:
    headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAEAAEAAAAIAAAAA"}
    answer = server.client.post("/predict", content=encode(seven), headers=headers)
    assert (answer.status_code, answer.json().get("digit")) == (200, 7), answer.text


def test_a_urlencoded_form_is_answered_with_the_right_curl(server: Server) -> None:
    answer = server.client.post("/predict", data={"file": "digit.png"})
    check_problem(answer, 415, "urlencoded-form", "curl -F file=@digit.png", "--data-binary")


def test_an_empty_body_of_every_kind(server: Server) -> None:
    check_problem(server.client.post("/predict"), 400, "empty-body")
    check_problem(server.client.post("/predict", files={"file": b""}), 400, "empty-body", "'file'")


def test_other_paths_and_methods_are_problems_too(server: Server) -> None:
    check_problem(server.client.get("/nowhere"), 404, "not-found", "/nowhere")
    answer = server.client.get("/predict")
    check_problem(answer, 405, "method-not-allowed", "GET /predict")
    assert answer.headers["allow"] == "POST"


def test_a_body_that_does_not_arrive_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "BODY_SECONDS", 0.2)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"/problems/body-timeout" in answer
    assert b"3 bytes had arrived" in answer


def test_a_client_that_leaves_does_no_harm(server: Server, seven: Image.Image, encode) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert server.predict(encode(seven))["digit"] == 7


def test_beyond_the_queue_limit_is_503_that_names_it(tmp_path, seven: Image.Image, encode) -> None:
    with running(Settings(home=tmp_path / "home", queue_limit=1)) as server:
        large = encode(seven.resize((3000, 3000)))
        answers: list[httpx.Response] = []

        def post() -> None:
            with httpx.Client(base_url=server.url, timeout=60) as client:
                answers.extend(client.post("/predict", content=large) for _ in range(5))

        threads = [threading.Thread(target=post) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [answer for answer in answers if answer.status_code != 200]
        assert 0 < len(refused) < len(answers)
        for answer in refused:
            assert check_problem(answer, 503, "overloaded", "QUEUE_LIMIT=1")["limit"] == 1
            assert int(answer.headers["retry-after"]) >= 1


def test_many_callers_at_once_each_get_their_own_answer(server: Server, test_digits, encode) -> None:
    pictures = [encode(image) for image in test_digits.images[:120].numpy()]
    alone = [server.predict(picture) for picture in pictures]
    together: list[dict[str, Any] | None] = [None] * len(pictures)

    def post(start: int) -> None:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            for i in range(start, len(pictures), 12):
                together[i] = client.post("/predict", files={"file": pictures[i]}).json()

    threads = [threading.Thread(target=post, args=(start,)) for start in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        assert other is not None
        assert one["digit"] == other["digit"]
        assert np.allclose(one["probabilities"], other["probabilities"], atol=1e-5)
