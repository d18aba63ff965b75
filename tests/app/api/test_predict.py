import asyncio
import io
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, Request
from PIL import Image
from starlette.exceptions import HTTPException

from app.http import problems
from app.http.problems import Problem
from app.http.schemas import PredictionBody
from app.inference import Inference
from app.settings import Settings
from tests.support.service import Server, check_problem, running


def test_a_prediction_has_all_its_members(server: Server, seven: Image.Image, encode) -> None:
    body = server.predict(encode(seven))
    assert list(body) == ["digit", "confidence", "probabilities", "verdict", "model", "steps"]
    assert body["digit"] == 7
    assert body["confidence"] == max(body["probabilities"]) == body["probabilities"][7]
    assert sum(body["probabilities"]) == pytest.approx(1, abs=1e-9)
    assert body["verdict"] == "digit"
    assert body["model"] == "v1"
    assert body["steps"] == ["inverted", "cropped", "scaled", "centred"]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_every_format_is_read_in_every_kind_of_body(kind: str, server: Server, seven: Image.Image, encode) -> None:
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


def test_the_first_frame_of_a_gif_counts(server: Server, seven: Image.Image, encode) -> None:
    blank = Image.new("L", seven.size, 255)
    assert server.predict(encode(seven, "GIF", save_all=True, append_images=[blank] * 50))["digit"] == 7


def test_steps_name_transparency_and_orientation(server: Server, seven: Image.Image, encode) -> None:
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
    "unknown bytes": (lambda _: bytes(range(256)), 415, "unknown-format", ["unsupported image format"]),
    "truncated": (lambda png: png[: len(png) // 2], 422, "corrupt-picture", ["PNG"]),
    "corrupt": (lambda png: png[:60] + bytes(40) + png[100:], 422, "corrupt-picture", ["PNG"]),
    "enormous": (lambda _: png_header(50_000, 50_000), 413, "too-many-pixels", ["50000 x 50000", "50,000,000"]),
}


@pytest.mark.parametrize("multipart", [True, False])
@pytest.mark.parametrize("name", BAD_PICTURES)
def test_an_image_that_cannot_be_read_is_a_problem(
    name: str, multipart: bool, server: Server, seven: Image.Image, encode
) -> None:
    spoil, status, problem, words = BAD_PICTURES[name]
    data = spoil(encode(seven))
    answer = server.client.post("/predict", **({"files": {"file": data}} if multipart else {"content": data}))
    body = check_problem(answer, status, problem, *words)
    if problem == "too-many-pixels":
        assert body["limit"] == 50_000_000


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_image_with_nothing_drawn_is_a_problem(level: int, server: Server, encode) -> None:
    answer = server.client.post("/predict", content=encode(Image.new("L", (100, 100), level)))
    check_problem(answer, 422, "nothing-drawn", "nothing is drawn")


def test_unknown_paths_and_methods_are_problems(server: Server) -> None:
    check_problem(server.client.get("/nowhere"), 404, "not-found", "/nowhere")
    answer = server.client.get("/predict")
    check_problem(answer, 405, "method-not-allowed", "GET /predict")
    assert answer.headers["allow"] == "POST"


def test_an_image_beyond_the_concurrency_limit_is_503_and_names_the_setting(
    tmp_path, seven: Image.Image, encode
) -> None:
    with running(Settings(home=tmp_path / "home", max_concurrent_images=1)) as server:
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
            assert check_problem(answer, 503, "overloaded", "INKLING_MAX_CONCURRENT_IMAGES=1")["limit"] == 1
            assert int(answer.headers["retry-after"]) >= 1


def test_concurrent_clients_each_get_their_own_prediction(server: Server, test_digits, encode) -> None:
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


# The same contract as a tutorial would write it: FastAPI's router, Starlette's parser, Pydantic's JSON.
def twin_of(service: Inference) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    problems.install(app)

    @app.post("/predict", response_model=PredictionBody)
    async def predict(request: Request) -> PredictionBody:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            raise Problem("urlencoded-form", "")
        data = await request.body()
        if not data:
            raise Problem("empty-body", "")
        if len(data) > service.settings.max_upload_bytes:
            raise Problem("body-too-large", "", limit=service.settings.max_upload_bytes)
        if kind == "multipart/form-data":
            if "boundary=" not in request.headers["content-type"]:
                raise Problem("malformed-multipart", "")
            try:
                async with request.form() as form:
                    found = [value for name in ("file", "image") for value in form.getlist(name)]
                    contents = [
                        value.encode("latin-1") if isinstance(value, str) else await value.read() for value in found
                    ]
            except HTTPException as error:
                raise Problem("malformed-multipart", "") from error
            if len(contents) != 1:
                raise Problem("wrong-field", "", field="file")
            data = contents[0]
            if not data:
                raise Problem("empty-body", "")
        tile, (digit, confidence, probabilities, verdict, model) = await service.submit(data)
        return PredictionBody(
            digit=digit,
            confidence=confidence,
            probabilities=list(probabilities),
            verdict=verdict,
            model=model,
            steps=list(tile.steps),
        )

    return app


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"x", content_type: bytes | None = None) -> dict[str, Any]:
    """A multipart body of heads and contents, byte for byte."""
    lines = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    content_type = content_type or b"multipart/form-data; boundary=" + boundary
    return {"content": lines + b"--" + boundary + b"--\r\n", "headers": {"content-type": content_type}}


def requests_of_every_kind(picture: bytes, tile: bytes) -> dict[str, dict[str, Any]]:
    file = b'Content-Disposition: form-data; name="file"'
    named = file + b'; filename="a.png"'
    typed = b"\r\nContent-Type: image/png"
    return {
        "picture": {"files": {"file": picture}},
        "tile": {"files": {"file": tile}},
        "raw tile": {"content": tile},
        "raw tile with a type": {"content": tile, "headers": {"content-type": "image/png"}},
        "chunked": {"content": iter([tile[:50], tile[50:]])},
        "image": {"files": {"image": ("b.png", tile, "image/x-png")}},
        "no file name": form((file, tile)),
        "no type": form((named, tile)),
        "type": form((named + typed, tile)),
        "type first": form((b"Content-Type: image/png\r\n" + named, tile)),
        "lower case": form((named.lower(), tile)),
        "name without quotes": form((b"Content-Disposition: form-data; name=file; filename=a.png", tile)),
        "quote in the file name": form((file + b'; filename="a\\"b.png"', tile)),
        "file name with a name in it": form((file + b'; filename="a; name=b"', tile)),
        "file name beyond ASCII": form((file + b'; filename="\xc3\xa4.png"', tile)),
        "more headers": form((named + typed + b"\r\nContent-Transfer-Encoding: binary", tile)),
        "quoted boundary": form((named, tile), content_type=b'multipart/form-data; boundary="x"'),
        "charset": form((named, tile), content_type=b"multipart/form-data; charset=utf-8; boundary=x"),
        "capitals": form((named, tile), content_type=b"Multipart/Form-Data; boundary=x"),
        "boundary within": form((named, tile + b"\r\n--xy\r\n" + tile)),
        "long boundary": form((named, tile), boundary=b"-" * 60 + b"0123456789"),
        "other fields": {"files": {"file": tile}, "data": {"comment": "mine", "more": "x" * 1000}},
        "two": {"files": [("file", tile), ("file", tile)]},
        "file and image": {"files": [("file", tile), ("image", tile)]},
        "wrong name": {"files": {"picture": tile}},
        "no part": {"content": b"--x--\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
        "no boundary": {"content": tile, "headers": {"content-type": "multipart/form-data"}},
        "other boundary": form((named, tile), content_type=b"multipart/form-data; boundary=y"),
        "empty": {},
        "empty field": {"files": {"file": b""}},
        "urlencoded": {"data": {"file": "x"}},
        "too large": {"content": bytes(300_000)},
        "pixels": {"content": png_header(5000, 5000)},
        "pixels in a form": {"files": {"file": png_header(5000, 5000)}},
        "blank": {"content": tile_of(np.zeros((28, 28), np.uint8))},
        "truncated": {"content": tile[:-20]},
        "cut in a form": {"files": {"file": tile[:100]}},
        "text": {"files": {"file": b"no picture"}},
        "json": {"json": {"file": "x"}},
    }


def tile_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def strict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with small limits, by each runtime."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        runtime=request.param,
        max_upload_bytes=200_000,
        max_pixels=1_000_000,
        max_client_batch=140,
    )
    with running(settings) as found:
        yield found


TILE = np.zeros((28, 28), np.uint8)
TILE[4:24, 12:16] = 255
KINDS_OF_REQUESTS = tuple(requests_of_every_kind(tile_of(TILE), tile_of(TILE)))


@pytest.mark.parametrize("kind", KINDS_OF_REQUESTS)
def test_predict_answers_as_a_plain_fastapi_twin(kind: str, strict: Server, seven, encode) -> None:
    request = requests_of_every_kind(encode(seven), tile_of(TILE))[kind]
    if "content" in request and not isinstance(request["content"], bytes):
        request["content"] = b"".join(request["content"])
    ours = strict.client.post("/predict", **request)
    twin = on_the_loop_of(strict, twin_of(strict.app.state.inference), request)
    assert ours.status_code == twin.status_code, (ours.text, twin.text)
    assert ours.headers["content-type"] == twin.headers["content-type"]
    if ours.status_code == 200:
        one, other = ours.json(), twin.json()
        assert list(one) == list(other)
        assert one.pop("probabilities") == pytest.approx(other.pop("probabilities"), abs=1e-6)
        assert one.pop("confidence") == pytest.approx(other.pop("confidence"), abs=1e-6)
        assert one == other
    else:
        bodies = [{**answer.json(), "detail": ""} for answer in (ours, twin)]
        assert bodies[0] == bodies[1]


def on_the_loop_of(server: Server, app: FastAPI, request: dict[str, Any]) -> httpx.Response:
    """Sends a request to another app over the service of a running server, on that server's own event loop."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://twin") as client:
            return await client.post("/predict", **request)

    assert server.loop is not None
    return asyncio.run_coroutine_threadsafe(send(), server.loop).result(60)


def test_the_json_is_what_pydantic_would_write(strict: Server) -> None:
    answer = strict.client.post("/predict", content=tile_of(TILE))
    assert PredictionBody.model_validate_json(answer.content, strict=True).model_dump_json().encode() == answer.content


def test_each_image_of_a_batch_has_its_own_result_in_order(strict: Server, seven, encode) -> None:
    pictures = [encode(seven), tile_of(TILE), b"no picture", b"", png_header(5000, 5000), encode(seven, "JPEG")]
    answer = strict.client.post("/predict/batch", files=[("files", picture) for picture in pictures])
    assert answer.status_code == 200, answer.text
    assert list(answer.json()) == ["results"]
    results = answer.json()["results"]
    found = [result.get("digit", result.get("error", {}).get("type", "")) for result in results]
    assert found == [7, 1, "/problems/unknown-format", "/problems/empty-body", "/problems/too-many-pixels", 7]
    assert results[4]["error"]["status"] == 413
    assert results[4]["error"]["limit"] == 1_000_000
    alone = strict.predict(pictures[0])
    assert list(results[0]) == list(alone)
    assert results[0]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-5)


def test_a_batch_of_unreadable_images_is_200_with_their_problems(strict: Server) -> None:
    answer = strict.client.post("/predict/batch", files=[("files", b"x"), ("files", b"y")])
    assert answer.status_code == 200
    assert [result["error"]["status"] for result in answer.json()["results"]] == [415, 415]


def test_a_batch_at_the_limit_is_answered_and_one_beyond_it_refused(strict: Server, test_digits) -> None:
    tiles = [tile_of(image) for image in test_digits.images[:141].numpy()]
    alone = [strict.predict(tile)["digit"] for tile in tiles[:140]]
    answer = strict.client.post("/predict/batch", files=[("files", tile) for tile in tiles[:140]])
    assert [result["digit"] for result in answer.json()["results"]] == alone
    answer = strict.client.post("/predict/batch", files=[("files", tile) for tile in tiles])
    assert check_problem(answer, 413, "too-many-images", "141 images", "INKLING_MAX_CLIENT_BATCH")["limit"] == 140
    answer = strict.client.post("/predict/batch", files=[("files", b"x")] * 1000)
    check_problem(answer, 413, "too-many-images", "more than 240 parts")


def test_a_malformed_batch_is_a_problem(strict: Server) -> None:
    tile = tile_of(TILE)
    check_problem(strict.client.post("/predict/batch"), 400, "empty-body", "files=@")
    answer = strict.client.post("/predict/batch", content=tile, headers={"content-type": "image/png"})
    check_problem(answer, 422, "wrong-field", "'files'")
    answer = strict.client.post("/predict/batch", files={"file": tile})
    assert check_problem(answer, 422, "wrong-field", "'files'", "got 'file'")["field"] == "files"
    check_problem(strict.client.get("/predict/batch"), 405, "method-not-allowed")


def test_a_batch_without_room_for_all_its_images_is_refused(strict: Server) -> None:
    batcher = strict.app.state.inference.batcher
    batcher.admit(200)
    try:
        answer = strict.client.post("/predict/batch", files=[("files", tile_of(TILE))] * 57)
        assert check_problem(answer, 503, "overloaded", "INKLING_MAX_CONCURRENT_IMAGES=256")["limit"] == 256
        assert answer.headers["retry-after"] == "1"
        assert strict.client.post("/predict/batch", files=[("files", tile_of(TILE))] * 56).status_code == 200
    finally:
        batcher.release(200)
    assert batcher.admitted == 0
