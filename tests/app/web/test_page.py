"""The calls of the page alone; tests/e2e/test_page.py tests the page itself in a browser."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from app.settings import Settings
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from tests.support.service import Server, check_problem, running


def tile_of(answer_content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(answer_content)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


def test_the_tile_is_what_the_network_sees(server: Server, seven: Image.Image, encode: Callable[..., bytes]) -> None:
    for picture in (encode(seven), encode(seven.resize((40, 40)))):  # large and small ones are decoded differently
        expected = normalise(decode(picture)).pixels
        for body in ({"content": picture}, {"files": {"file": picture}}):
            answer = server.client.post("/page/tile", **body)
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            assert np.array_equal(tile_of(answer.content), expected)


def test_an_image_without_a_tile_is_a_problem(server: Server, encode: Callable[..., bytes]) -> None:
    check_problem(server.client.post("/page/tile", content=b"words"), 415, "unknown-format")
    check_problem(server.client.post("/page/tile"), 400, "empty-body")
    blank = encode(np.full((50, 50), 255, np.uint8))
    check_problem(server.client.post("/page/tile", content=blank), 422, "nothing-drawn")


def test_it_counts_as_an_image_in_flight(server: Server, seven: Image.Image, encode: Callable[..., bytes]) -> None:
    with server.full():
        check_problem(server.client.post("/page/tile", content=encode(seven)), 503, "overloaded")
    assert server.client.post("/page/tile", content=encode(seven)).status_code == 200


def test_the_page_learns_whether_there_is_a_key(tmp_path: Path) -> None:
    for key in (None, "sesame"):
        with running(Settings(home=tmp_path / "home", api_key=key)) as found:
            assert found.client.get("/page/key").json() == {"configured": key is not None}


def test_the_openapi_document_leaves_it_out(server: Server) -> None:
    assert not [path for path in server.client.get("/openapi.json").json()["paths"] if path.startswith("/page")]


def test_below_a_prefix_too(tmp_path: Path, seven: Image.Image, encode: Callable[..., bytes]) -> None:
    with running(Settings(home=tmp_path / "home", root_path="/digits")) as found:
        assert found.client.post("/page/tile", content=encode(seven)).status_code == 200
