import io
import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from models.errors import CorruptPicture, PictureError, TooManyPixels, UnknownFormat
from models.preprocessing import decode as decode_module
from models.preprocessing.decode import MAX_SIDE, decode
from models.preprocessing.file_structure import FORMATS

GREY = np.arange(28 * 20, dtype=np.uint8).reshape(28, 20)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded(kind: str, encode: Callable[..., bytes]) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    flat = np.where(GREY > 127, 255, 0).astype(np.uint8)
    picture = decode(encode(flat, kind, **options))
    assert picture.pixels.shape == (28, 20)
    assert np.abs(picture.pixels.astype(int) - flat).mean() < 3
    assert picture.alpha is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_mode_is_decoded(mode: str, encode: Callable[..., bytes]) -> None:
    flat = np.where(GREY > 127, 255, 0).astype(np.uint8)
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(flat.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]) * 257)
    else:
        image = Image.fromarray(flat).convert(mode)
    assert image.mode == mode
    kind = "PNG" if mode in ("1", "L", "P", "RGB", "RGBA", "LA", "I;16") else "TIFF"
    assert np.array_equal(decode(encode(image, kind)).pixels, flat)


def test_ten_bits_stored_in_sixteen_use_the_full_range(encode: Callable[..., bytes]) -> None:
    assert decode(encode(GREY.astype(np.uint16) * 4)).pixels.max() == 255


def test_colour_stays_colour_and_grey_in_rgb_becomes_grey(encode: Callable[..., bytes]) -> None:
    assert decode(encode(np.dstack([GREY] * 3))).pixels.shape == (28, 20)
    assert decode(encode(np.dstack([GREY, GREY, 255 - GREY]))).pixels.shape == (28, 20, 3)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L"])
def test_transparency_is_found_in_every_mode(mode: str, encode: Callable[..., bytes]) -> None:
    image = Image.new("RGBA", (28, 20), (255, 255, 255, 255))
    image.paste((0, 0, 0, 0), (5, 5, 10, 10))
    if mode in ("P", "L"):
        image = Image.new(mode, (28, 20), 1)
        image.paste(0, (5, 5, 10, 10))
        data = encode(image, transparency=0)
    else:
        data = encode(image.convert(mode))
    alpha = decode(data).alpha
    assert alpha is not None
    assert alpha[7, 7] == 0
    assert alpha[0, 0] == 255


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_undone(orientation: int, kind: str, encode: Callable[..., bytes]) -> None:
    upright = Image.new("L", (40, 24), 255)
    upright.paste(0, (0, 0, 8, 8))  # a dark top left corner
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transpose that a camera held this way applies
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(encode(stored, kind, exif=exif))
    assert picture.pixels.shape[:2] == (24, 40)
    assert picture.pixels[3, 3].max() < 60
    assert picture.oriented == (orientation != 1)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_only_the_first_frame_is_decoded(kind: str, encode: Callable[..., bytes]) -> None:
    frames = [Image.new("L", (30, 30), level) for level in (255, 0, 128)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert decode(data).pixels.min() == 255


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(40)


@pytest.mark.parametrize("width, height", [(50_000, 50_000), (10_000, 5_001), (2**31 - 1, 2**31 - 1)])
def test_the_pixel_limit_applies_to_the_header(width: int, height: int) -> None:
    with pytest.raises(TooManyPixels, match="50,000,000"):
        decode(png_header(width, height))


def test_the_pixel_limit_can_be_set(encode: Callable[..., bytes]) -> None:
    with pytest.raises(TooManyPixels, match="20 x 28 is 560 pixels"):
        decode(encode(GREY), max_pixels=559)
    assert decode(encode(GREY), max_pixels=560).pixels.shape == (28, 20)


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(UnknownFormat, match="empty"):
        decode(b"")


@pytest.mark.parametrize(
    "data, name",
    [(b"just some words", "text"), (HEIC, "HEIC"), (b"%PDF-1.7 x", "PDF"), (b"<svg/>", "SVG"), (b'{"a":1}', "JSON")],
)
def test_an_unsupported_format_is_named(data: bytes, name: str) -> None:
    with pytest.raises(UnknownFormat, match=f"{name}.*PNG, JPEG, BMP, GIF, WEBP, TIFF"):
        decode(data)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_decodes_or_raises_a_picture_error(kind: str, encode: Callable[..., bytes]) -> None:
    data = encode(GREY, kind)
    outcomes = []
    for length in range(0, len(data), 7):
        try:
            decode(data[:length])
            outcomes.append("read")
        except PictureError as error:
            outcomes.append(type(error).__name__)
    assert outcomes.count("CorruptPicture") > len(outcomes) / 2
    with pytest.raises(CorruptPicture, match=kind):
        decode(data[: len(data) // 2])


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("ignore")  # Pillow warns about odd metadata
def test_damaged_bytes_decode_or_raise_a_picture_error(kind: str, encode: Callable[..., bytes]) -> None:
    random_source = random.Random(7)
    data = encode(GREY, kind)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(random_source.randint(1, 8)):
            damaged[random_source.randrange(len(damaged))] = random_source.randrange(256)
        try:
            decode(bytes(damaged), max_pixels=1_000_000)
        except PictureError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16", "I", "F"])
def test_large_pictures_are_reduced(mode: str, encode: Callable[..., bytes]) -> None:
    image = Image.new("L", (3000, 2000), 255)
    image.paste(0, (1000, 500, 2000, 1500))
    if mode in ("I;16", "I", "F"):
        image = Image.fromarray(np.asarray(image).astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        image = image.convert(mode)
    kinds = ["TIFF"] if mode in ("I", "F") else ["PNG", "JPEG"] if mode in ("L", "RGB") else ["PNG"]
    for kind in kinds:
        picture = decode(encode(image, kind))
        height, width = picture.pixels.shape
        assert 320 < width <= MAX_SIDE
        assert width / height == pytest.approx(1.5, rel=0.01)
        assert picture.pixels[height // 2, width // 2] == 0
        assert picture.pixels[0, 0] == 255


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_an_image_that_is_reduced_in_bands_is_as_one_that_is_reduced_at_once(
    mode: str, encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    for width, height in rng.integers(641, 3000, (8, 2)).tolist():
        data = encode(Image.fromarray(rng.integers(0, 256, (height, width // 9, 4), dtype=np.uint8)).convert(mode))
        pictures = []
        for pixels in (10**9, 20_000):
            monkeypatch.setattr(decode_module, "BAND_PIXELS", pixels)
            pictures.append(decode(data))
        assert pictures[0].pixels.shape == pictures[1].pixels.shape
        # By rounding, and because a row on the border of two rows of the result may count to either.
        assert np.abs(pictures[0].pixels.astype(int) - pictures[1].pixels).mean() < 0.5


def test_the_pixel_limit_may_exceed_that_of_pillow() -> None:
    with pytest.raises(TooManyPixels, match="20000 x 20000 is 400,000,000 pixels; the limit is 300,000,000"):
        decode(png_header(20_000, 20_000), max_pixels=300_000_000)
    with pytest.raises(CorruptPicture):
        decode(png_header(20_000, 20_000), max_pixels=400_000_000)


def test_long_texts_in_a_png_are_ignored(encode: Callable[..., bytes]) -> None:
    information = PngInfo()
    information.add_text("comment", "x" * 3_000_000, zip=True)
    assert np.array_equal(decode(encode(GREY, pnginfo=information)).pixels, GREY)


def test_odd_exif_tags_beside_the_orientation_are_ignored(encode: Callable[..., bytes]) -> None:
    entries = struct.pack("<HHII", 0x0112, 3, 1, 3) + struct.pack("<HHII", 0x0131, 3, 1, 7)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4)
    assert decode(encode(GREY, "JPEG", exif=exif)).oriented


def test_float_pixels_that_are_not_finite_are_refused(encode: Callable[..., bytes]) -> None:
    with pytest.raises(CorruptPicture, match="not finite"):
        decode(encode(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF"))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_broken_exif_tag_is_ignored(encode: Callable[..., bytes]) -> None:
    data = bytearray(encode(np.dstack([GREY] * 3), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert decode(bytes(data)).oriented is False
    assert Image.open(io.BytesIO(data)).size == (20, 28)


def outcome(data: bytes) -> object:
    """The pixels, or the error."""
    try:
        return decode(data).pixels.tolist()
    except PictureError as error:
        return type(error)


@pytest.mark.processes
def test_the_fast_decoder_for_plain_pngs_agrees_with_the_general_one(encode, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    shapes = [(28, 28), (1, 1), (3, 200), (200, 1), (64, 64)]
    plain = [encode(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]
    plain.append(encode(np.zeros((28, 28), np.uint8), compress_level=0))
    files = [*plain]
    for data in plain:
        for _ in range(150):
            broken = bytearray(data)
            broken[rng.integers(len(data))] = rng.integers(256)
            files += [bytes(broken), rechecked(bytes(broken)), data[: rng.integers(len(data))], data + b"more"]
    short = [outcome(data) for data in files]
    assert sum(isinstance(found, list) for found in short) > len(plain)
    monkeypatch.setattr(decode_module, "_decode_plain_png", lambda *_: None)
    assert short == [outcome(data) for data in files]


def rechecked(data: bytes) -> bytes:
    """A PNG with the checksums of its chunks made right."""
    fixed, start = data[:8], 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            break
        fixed += data[start:end] + zlib.crc32(data[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
    return fixed + data[start:]
