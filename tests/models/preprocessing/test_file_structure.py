import io
import struct

import numpy as np
import pytest
from PIL import Image

from models.errors import CorruptPicture, TooComplex, TooManyPixels
from models.preprocessing.decode import decode, is_small
from models.preprocessing.file_structure import MAX_PARTS, MAX_SIDE, read_structure
from tests.support.hostile_pictures import Tags, chunk, coloured_png, exif, jpeg, png, scans, segment

LEFT = np.tile(np.where(np.arange(40) < 8, 0, 255).astype(np.uint8), (24, 1))
"""24 rows of 40 pixels that are dark at the left."""


def chunks_of(data: bytes, size: int) -> bytes:
    """The PNG with its pixel data in chunks of that size."""
    start = data.index(b"IDAT") - 4
    length = int.from_bytes(data[start : start + 4], "big")
    pixels = data[start + 8 : start + 8 + length]
    parts = [chunk(b"IDAT", pixels[i : i + size]) for i in range(0, length, size)]
    return data[:start] + b"".join(parts) + data[start + 12 + length :]


def photograph(encode, **options: object) -> bytes:
    """A JPEG with the segments of a camera: two megabytes of previews, colour profile, notes, and a second picture."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (600, 800, 3), dtype=np.uint8)).resize((1600, 1200))
    data = encode(image, "JPEG", quality=92, **options)
    more = [segment(0xE1, b"Exif\0\0" + exif(60)), segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(3000))]
    more += [segment(0xE0 + number % 16, rng.bytes(60_000)) for number in range(2, 34) if number % 16 != 14]
    more += [segment(0xFE, b"made by hand")]
    return data[:2] + b"".join(more) + data[2:] + encode(image.resize((160, 120)), "JPEG")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"subsampling": 0}])
def test_a_photograph_of_a_camera_loses_all_that_its_pixels_do_not_need(options: dict, encode) -> None:
    data = photograph(encode, **options)
    file = read_structure(data)
    assert len(file.data) < len(data) - 1_800_000
    assert (file.width, file.height, file.orientation) == (1600, 1200, 6)
    with Image.open(io.BytesIO(data)) as whole, Image.open(io.BytesIO(file.data)) as stripped:
        assert np.array_equal(np.asarray(whole), np.asarray(stripped))
        assert stripped.format == "JPEG"


def test_an_adobe_segment_stays_because_it_tells_the_colour_space(encode) -> None:
    image = Image.fromarray(np.dstack([LEFT, 255 - LEFT, LEFT // 2, LEFT // 4]), "CMYK")
    data = encode(image, "JPEG", quality=95)
    assert b"Adobe" in read_structure(data).data
    with Image.open(io.BytesIO(data)) as whole:
        assert np.array_equal(decode(data).pixels, np.asarray(whole.convert("RGB")))


@pytest.mark.parametrize("size", [1, 100, 8192])
def test_the_pixels_of_a_png_may_be_in_many_chunks(size: int, encode) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 100), dtype=np.uint8)
    assert np.array_equal(decode(chunks_of(encode(noise), size)).pixels, noise)


def test_parts_are_counted(encode) -> None:
    rest = 2  # pixels and end
    assert read_structure(png(chunk(b"abCd") * (MAX_PARTS - rest)))
    with pytest.raises(TooComplex, match="16,384 chunks"):
        read_structure(png(chunk(b"abCd") * (MAX_PARTS - rest + 1)))


def test_sides_are_limited() -> None:
    assert read_structure(coloured_png((MAX_SIDE, 1), 8, 0)).width == MAX_SIDE
    for size in ((MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)):
        with pytest.raises(TooManyPixels, match="65,535"):
            read_structure(coloured_png(size, 8, 0))


@pytest.mark.parametrize("size", [(8, MAX_SIDE - 35), (MAX_SIDE - 35, 8)])
def test_a_jpeg_may_be_narrower_than_the_factor_that_reduces_it(size: tuple[int, int], encode) -> None:
    assert max(decode(encode(Image.new("L", size), "JPEG")).pixels.shape) <= 640


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg", "group4"])
@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_of_several_pages_and_many_strips_gives_its_first_page(compression: str, big: bool, encode) -> None:
    page = Image.fromarray(np.repeat(LEFT, 100, axis=0)).convert("1" if compression == "group4" else "L")
    data = encode(
        page,
        "TIFF",
        compression=compression,
        big_tiff=big,
        strip_size=40,
        save_all=True,
        append_images=[Image.new(page.mode, (9, 9))],
        tiffinfo={0x0112: 3, 270: "notes " * 10_000},
    )
    picture = decode(data)
    assert picture.oriented
    assert picture.pixels.shape == (600, 10)
    assert picture.pixels[:, -1].max() < 60
    assert picture.pixels[:, 0].min() > 200


def test_a_tiff_may_have_a_strip_for_each_row() -> None:
    tags = Tags(10, 20_000)
    tags.set(278, 1)
    tags.set(273, *range(8, 8 + 200_000, 10))
    tags.set(279, *[10] * 20_000)
    assert decode(tags.write(bytes(200_000))).pixels.shape == (625, 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animation_gives_its_first_frame_with_its_transparency(kind: str, encode) -> None:
    frame = Image.new("RGBA", (40, 24), (0, 0, 0, 255))
    frame.paste((0, 0, 0, 0), (0, 0, 8, 8))
    frames = [Image.new("RGBA", (40, 24), (200, level, 0, 255)) for level in range(5)]
    picture = decode(encode(frame, kind, save_all=True, append_images=frames, lossless=True, comment=b"notes"))
    assert picture.pixels.max() == 0
    assert picture.alpha is not None
    assert picture.alpha[3, 3] == 0
    assert picture.alpha[20, 20] == 255


@pytest.mark.parametrize("form", [b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"])
def test_the_orientation_may_stand_in_xmp(form: bytes, encode) -> None:
    xmp = b"<x:xmpmeta>" + form + b"</x:xmpmeta>"
    for kind in ("JPEG", "WEBP"):
        assert decode(encode(Image.fromarray(LEFT).convert("RGB"), kind, xmp=xmp)).pixels.shape[:2] == (40, 24)


@pytest.mark.parametrize("tags", [struct.pack("<HHII", 0x0112, 3, 1, 9), struct.pack("<HHII", 0x0112, 2, 1, 6), b""])
def test_an_impossible_orientation_is_ignored(tags: bytes, encode) -> None:
    data = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + tags
    assert not decode(encode(Image.fromarray(LEFT), "JPEG", exif=data)).oriented


def test_a_progressive_jpeg_may_have_as_many_scans_as_its_size_allows() -> None:
    assert read_structure(scans(1000, (280, 280)))
    with pytest.raises(TooComplex, match="scans"):
        read_structure(scans(1000, (4000, 4000)))


def test_memory_follows_the_limit_of_pixels(encode) -> None:
    data = encode(Image.new("RGB", (4000, 4000)), "WEBP", method=0)
    with pytest.raises(TooComplex, match="256,000,000 bytes of memory; the limit is 88,000,000"):
        read_structure(data, max_pixels=16_000_000)
    assert read_structure(data, max_pixels=60_000_000)


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC7, 0xCB, 0xCF])
def test_codings_that_no_decoder_reads_are_refused_by_name(marker: int) -> None:
    with pytest.raises(CorruptPicture, match="SOF"):
        read_structure(jpeg().replace(b"\xff\xc0", bytes([0xFF, marker])))


def test_what_is_decoded_on_the_event_loop_is_small_in_every_way() -> None:
    assert is_small(png())
    assert is_small(b"no picture at all")
    assert is_small(png(*[chunk(b"tEXt", b"a\0b")] * 10))
    assert not is_small(png(*[chunk(b"tEXt", b"a\0b")] * 20))
    assert not is_small(png(size=(33, 28)))
    assert not is_small(png(size=(1, 4096)))
    assert not is_small(png(after=chunk(b"abCd", bytes(8_192))))
    assert not is_small(jpeg())


def test_offsets_beyond_any_file_are_corrupt(encode) -> None:
    data = bytearray(encode(Image.fromarray(LEFT), "TIFF", big_tiff=True))
    data[8:16] = b"\xff" * 8
    with pytest.raises(CorruptPicture, match="ends early"):
        read_structure(bytes(data))


def test_more_compressed_bytes_than_the_pixels_need_are_refused() -> None:
    with pytest.raises(TooComplex, match="812 suffice"):
        read_structure(png(idat=bytes(70_000)))
