import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app.settings import Settings
from tests.conftest import Server, check_problem, running


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


def test_other_paths_and_methods_are_problems_too(server: Server) -> None:
    check_problem(server.client.get("/nowhere"), 404, "not-found", "/nowhere")
    answer = server.client.get("/predict")
    check_problem(answer, 405, "method-not-allowed", "GET /predict")
    assert answer.headers["allow"] == "POST"


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
