import io

from PIL import Image

from app.http import multipart
from benchmarks import pictures
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise


def test_the_tile_needs_no_normalisation() -> None:
    tile = normalise(decode(pictures.tile()))
    assert tile.pixels.shape == (28, 28)
    assert tile.steps == ()
    assert (tile.pixels == decode(pictures.tile()).pixels).all()


def test_a_multipart_body_contains_its_pictures() -> None:
    body = pictures.multipart(b"one", b"two", field="files")
    parts = multipart.parse(body.data, pictures.BOUNDARY.encode())
    assert [(part.name, bytes(part.data)) for part in parts] == [("files", b"one"), ("files", b"two")]
    assert body.content_type == f"multipart/form-data; boundary={pictures.BOUNDARY}"


def test_the_photograph_is_a_jpeg_of_the_given_size() -> None:
    with Image.open(io.BytesIO(pictures.photograph(400, 300))) as image:
        assert (image.format, image.size) == ("JPEG", (400, 300))
