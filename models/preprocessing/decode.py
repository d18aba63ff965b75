"""Uploaded bytes to pixels: the formats we read, the size limit, orientation and bit depth."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.errors import CorruptPicture, TooManyPixels, UnknownFormat

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_PIXELS = 50_000_000
WORKING = 640
"""Larger pictures are averaged down to at most this many pixels on the longest side: a digit needs no more."""

SMALL = 64 * 64
"""Pixels of a picture that is small enough to be read at once."""

Pixels = NDArray[np.uint8]

_MAGIC = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Our own limit is checked before a picture is decoded, and can be set higher than Pillow's.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Picture:
    """pixels: uint8 [H, W] or [H, W, 3]; alpha: uint8 [H, W], None when the picture is opaque everywhere.

    lossy: the format alters pixels, so that a flat background is not quite flat.
    oriented: it was turned as its EXIF tag asks.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    lossy: bool = False
    oriented: bool = False


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decodes the first frame of a PNG, JPEG, BMP, GIF, WebP or TIFF of any mode.

    The format is taken from the bytes alone, and the size from the header before anything is decoded.
    Raises UnknownFormat, TooManyPixels or CorruptPicture.
    """
    if (pixels := _plain_png(data, max_pixels)) is not None:
        return Picture(pixels)
    try:
        if data.startswith(_MAGIC["PNG"]):
            data = _checked_png(data, max_pixels)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, max_pixels)
            orientation = _orientation(image)
            factor = -(-max(image.size) // WORKING)
            image.draft(None, (image.width // factor, image.height // factor))  # a JPEG is decoded smaller at once
            image.load()
            return _picture(image, orientation)
    except (TooManyPixels, CorruptPicture):
        raise
    except UnidentifiedImageError as error:
        name = sniff(data)
        if name in FORMATS:
            raise CorruptPicture(f"the bytes start like a {name} picture, but its header is broken") from error
        accepted = ", ".join(FORMATS)
        raise UnknownFormat(f"the bytes are {name or 'no picture that we know'}; we read {accepted}") from error
    except Exception as error:  # decoders raise whatever they stumble over: OSError, SyntaxError, struct.error, ...
        name = sniff(data)
        raise CorruptPicture(f"the {name} picture is truncated or corrupt: {error}") from error


def is_small(data: bytes) -> bool:
    """Whether a picture is read and normalised in about the time that handing it to a thread takes."""
    if len(data) > _SMALL:
        return False
    if data.startswith(_MAGIC["PNG"]):
        width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        return width * height <= SMALL
    return sniff(data) not in FORMATS


def sniff(data: bytes) -> str | None:
    """What the bytes look like, from their first few; a name from FORMATS, another kind of file, or None."""
    for name, prefixes in _MAGIC.items():
        if data.startswith(prefixes):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "HEIC" if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc") else brand.decode("latin-1").strip()
    start = data[:200].lstrip().lower()
    if start.startswith(b"%pdf"):
        return "PDF"
    if start.startswith((b"<svg", b"<?xml")):
        return "SVG or XML"
    if start.startswith((b"{", b"[")):
        return "JSON"
    if data and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:200]):
        return "text"
    return None


# Signature, then an IHDR chunk: width, height, 8 bits, grey, not interlaced, checksum; then the next chunk's head.
_PLAIN_PNG = struct.Struct(">8s 8s I I 5s I I 4s")
_HEAD = b"\0\0\0\x0dIHDR"
_GREY = b"\x08\0\0\0\0"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_SMALL = 65_536


def _plain_png(data: bytes, max_pixels: int) -> Pixels | None:
    """The pixels of the plainest kind of PNG, small, grey and of three chunks; None for anything else.

    Pillow looks for plugins, metadata and tricks that such a file has not, which takes longer than to decode it.
    """
    if len(data) < _PLAIN_PNG.size or not data.endswith(_END):
        return None
    magic, head, width, height, kind, header_sum, length, name = _PLAIN_PNG.unpack_from(data)
    if (
        magic != _MAGIC["PNG"][0]
        or head != _HEAD
        or kind != _GREY
        or name != b"IDAT"
        or _PLAIN_PNG.size + length + 4 + len(_END) != len(data)
        or not 0 < width * height <= min(_SMALL, max_pixels)
        or zlib.crc32(data[12:29]) != header_sum
        or zlib.crc32(data[37:-16]) != int.from_bytes(data[-16:-12], "big")
    ):
        return None
    try:
        image = Image.frombytes("L", (width, height), data[41:-16], "zip", ("L", 0))
    except ValueError:  # truncated or corrupt: the general way says what it is
        return None
    return np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(height, width)


def _checked_png(data: bytes, max_pixels: int) -> bytes:
    """Checks what Pillow does not: the size where pixels are missing, and the checksums of the pixels.

    Leaves out compressed texts and colour profiles, for the sake of which Pillow refuses whole pictures.
    """
    if data[12:16] == b"IHDR":
        _check_size((int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")), max_pixels)
    left_out = []
    start = 8
    while (end := start + 12 + int.from_bytes(data[start : start + 4], "big")) <= len(data):
        kind = data[start + 4 : start + 8]
        if kind == b"IDAT" and zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise CorruptPicture(
                "the PNG picture is corrupt: its pixels do not have the checksum that stands with them"
            )
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            left_out.append((start, end))
        start = end
    for first, last in reversed(left_out):
        data = data[:first] + data[last:]
    return data


def _check_size(size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width < 0 or height < 0:
        raise CorruptPicture(f"the picture is corrupt: its header says {width} x {height} pixels")
    if width * height > limit:
        raise TooManyPixels(f"{width} x {height} is {width * height:,} pixels; the limit is {limit:,}", limit=limit)


def _picture(image: Image.Image, orientation: int) -> Picture:
    lossy = image.format in ("JPEG", "MPO", "WEBP")
    if orientation != 1 and image.format != "TIFF":  # Pillow has turned a TIFF while loading it
        image = image.transpose(_UPRIGHT[orientation])
    if image.has_transparency_data:
        rgba = np.asarray(_reduced(image.convert("RGBA")))
        alpha = None if (rgba[..., 3] == 255).all() else np.ascontiguousarray(rgba[..., 3])
        return Picture(_grey_if_grey(rgba[..., :3]), alpha, lossy, orientation != 1)
    if image.mode.startswith(("I", "F")):
        pixels = _eight_bits(np.asarray(_reduced(image)))
    elif image.mode in ("1", "L"):
        pixels = np.asarray(_reduced(image.convert("L")))
    else:
        pixels = _grey_if_grey(np.asarray(_reduced(image.convert("RGB"))))
    return Picture(pixels, None, lossy, orientation != 1)


def _reduced(image: Image.Image) -> Image.Image:
    factor = -(-max(image.size) // WORKING)
    if factor == 1:
        return image
    size = (-(-image.width // factor), -(-image.height // factor))
    return image.resize(size, Image.Resampling.BOX)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A picture is not refused for the sake of a broken tag: 1 then."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError, struct.error):
        return 1
    return orientation if isinstance(orientation, int) and 2 <= orientation <= 8 else 1


def _grey_if_grey(rgb: Pixels) -> Pixels:
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return np.ascontiguousarray(rgb[..., 0])
    return np.ascontiguousarray(rgb)


def _eight_bits(values: NDArray[Any]) -> Pixels:
    """16-bit, 32-bit and float greys, the largest value becoming 255: files with 10 or 12 bits in 16 are common."""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise CorruptPicture("the picture holds pixels that are not finite numbers")
    low, high = min(values.min(), 0.0), values.max()
    scaled: Pixels = np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return scaled
