"""Decodes image files to pixels: formats, size limit, orientation, bit depth."""

import io
import struct
import zlib
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.errors import CorruptPicture, TooManyPixels, UnknownFormat

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_PIXELS = 50_000_000
MAX_SIDE = 640  # pixels; larger images are averaged down to this, as a digit needs no more
SMALL_PIXELS = 64 * 64  # decoding and normalising this many takes about as long as handing an image to a thread
SMALL_BYTES = 65_536  # the most bytes of a file, and pixels of a plain PNG, that are decoded on the event loop

Pixels = NDArray[np.uint8]

_MAGIC = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_TEXT_FORMATS = ((b"%pdf", "PDF"), (b"<svg", "SVG"), (b"<?xml", "SVG or XML"), (b"{", "JSON"), (b"[", "JSON"))
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Our own limit is checked before an image is decoded, and may be set higher than Pillow's.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Picture:
    """A decoded image.

    pixels: uint8 [H, W] or [H, W, 3]. alpha: uint8 [H, W], None for an opaque image. lossy: the format alters pixels,
    so that a uniform background is not quite uniform. oriented: the image was rotated or flipped as its EXIF tag asks.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    lossy: bool = False
    oriented: bool = False


def decode(data: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decodes the first frame of a PNG, JPEG, BMP, GIF, WebP or TIFF in any mode.

    The bytes alone decide the format. The header's size is checked before any pixel is decoded.
    Raises UnknownFormat, TooManyPixels or CorruptPicture.
    """
    if (pixels := _decode_plain_png(data, max_pixels)) is not None:
        return Picture(pixels)
    try:
        if data.startswith(_MAGIC["PNG"]):
            data = _check_png(data, max_pixels)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image.size, max_pixels)
            orientation = _orientation(image)
            factor = ceil(max(image.size) / MAX_SIDE)
            image.draft(None, (image.width // factor, image.height // factor))  # decodes a JPEG at reduced size
            image.load()
            return _picture(image, orientation)
    except (TooManyPixels, CorruptPicture):
        raise
    except UnidentifiedImageError as error:
        name = sniff(data)
        if name in FORMATS:
            raise CorruptPicture(f"the header of the {name} image is corrupt") from error
        if not data:
            raise UnknownFormat("the file is empty") from error
        guess = f" (looks like {name})" if name else ""
        raise UnknownFormat(f"unsupported image format{guess}; supported: {', '.join(FORMATS)}") from error
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise CorruptPicture(f"the {sniff(data)} image is truncated or corrupt: {error}") from error


def is_small(data: bytes) -> bool:
    """Whether to decode and normalise the image on the event loop: it is a small PNG, or no image at all."""
    if len(data) > SMALL_BYTES:
        return False
    if data.startswith(_MAGIC["PNG"]):
        width, height = _png_size(data)
        return width * height <= SMALL_PIXELS
    return sniff(data) not in FORMATS


def sniff(data: bytes) -> str | None:
    """Names the format that the first bytes indicate: one of FORMATS, another kind of file, or None."""
    for name, prefixes in _MAGIC.items():
        if data.startswith(prefixes):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        return "HEIC" if brand in (b"heic", b"heix", b"mif1", b"msf1", b"hevc") else brand.decode("latin-1").strip()
    start = data[:200].lstrip().lower()
    for prefix, name in _TEXT_FORMATS:
        if start.startswith(prefix):
            return name
    if data and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in data[:200]):
        return "text"
    return None


# The signature; the IHDR chunk with width, height, five bytes of format and a checksum; the head of the next chunk.
_PLAIN_PNG = struct.Struct(">8s 8s I I 5s I I 4s")
_IHDR = b"\0\0\0\x0dIHDR"
_GREY = b"\x08\0\0\0\0"  # eight bits, grey, not interlaced
_IEND = b"\0\0\0\0IEND\xaeB`\x82"


def _decode_plain_png(data: bytes, max_pixels: int) -> Pixels | None:
    """Decodes a small grey PNG of three chunks; returns None for anything else.

    Pillow spends more time on plugins, metadata and special cases, which such a file has none of, than on decoding it.
    """
    if len(data) < _PLAIN_PNG.size or not data.endswith(_IEND):
        return None
    magic, head, width, height, kind, header_sum, length, name = _PLAIN_PNG.unpack_from(data)
    if (
        magic != _MAGIC["PNG"][0]
        or head != _IHDR
        or kind != _GREY
        or name != b"IDAT"
        or _PLAIN_PNG.size + length + 4 + len(_IEND) != len(data)
        or not 0 < width * height <= min(SMALL_BYTES, max_pixels)
        or zlib.crc32(data[12:29]) != header_sum
        or zlib.crc32(data[37:-16]) != int.from_bytes(data[-16:-12], "big")
    ):
        return None
    try:
        image = Image.frombytes("L", (width, height), data[41:-16], "zip", ("L", 0))
    except ValueError:  # truncated or corrupt; the general decoder says which
        return None
    return np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(height, width)


def _png_size(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _check_png(data: bytes, max_pixels: int) -> bytes:
    """Checks what Pillow does not: the size when pixels are missing, and the checksums of pixel data.

    Returns the file without compressed texts and colour profiles, because Pillow refuses images with large ones.
    """
    if data[12:16] == b"IHDR":
        _check_size(_png_size(data), max_pixels)
    kept = [data[:8]]
    start = 8
    while (end := start + 12 + int.from_bytes(data[start : start + 4], "big")) <= len(data):
        kind = data[start + 4 : start + 8]
        if kind == b"IDAT" and zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise CorruptPicture("the PNG image is corrupt: the checksum of its pixel data is wrong")
        if kind not in (b"zTXt", b"iTXt", b"iCCP"):
            kept.append(data[start:end])
        start = end
    return b"".join([*kept, data[start:]])


def _check_size(size: tuple[int, int], limit: int) -> None:
    width, height = size
    if width < 0 or height < 0:
        raise CorruptPicture(f"the image is corrupt: its header says {width} x {height} pixels")
    if width * height > limit:
        raise TooManyPixels(f"{width} x {height} is {width * height:,} pixels; the limit is {limit:,}", limit=limit)


def _picture(image: Image.Image, orientation: int) -> Picture:
    lossy = image.format in ("JPEG", "MPO", "WEBP")
    if orientation != 1 and image.format != "TIFF":  # Pillow orients a TIFF while loading it
        image = image.transpose(_UPRIGHT[orientation])
    if image.has_transparency_data:
        rgba = np.asarray(_reduce(image.convert("RGBA")))
        alpha = None if (rgba[..., 3] == 255).all() else np.ascontiguousarray(rgba[..., 3])
        return Picture(_grey_if_grey(rgba[..., :3]), alpha, lossy, orientation != 1)
    if image.mode.startswith(("I", "F")):
        pixels = _to_eight_bits(np.asarray(_reduce(image)))
    elif image.mode in ("1", "L"):
        pixels = np.asarray(_reduce(image.convert("L")))
    else:
        pixels = _grey_if_grey(np.asarray(_reduce(image.convert("RGB"))))
    return Picture(pixels, None, lossy, orientation != 1)


def _reduce(image: Image.Image) -> Image.Image:
    """Averages an image down to at most MAX_SIDE pixels, by a whole factor."""
    factor = ceil(max(image.size) / MAX_SIDE)
    if factor == 1:
        return image
    return image.resize((ceil(image.width / factor), ceil(image.height / factor)), Image.Resampling.BOX)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 when the tag is broken, because the image itself may be fine."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError, struct.error):
        return 1
    return orientation if isinstance(orientation, int) and 2 <= orientation <= 8 else 1


def _grey_if_grey(rgb: Pixels) -> Pixels:
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return np.ascontiguousarray(rgb[..., 0])
    return np.ascontiguousarray(rgb)


def _to_eight_bits(values: NDArray[Any]) -> Pixels:
    """Scales 16-bit, 32-bit and float greys so that the largest is 255: 10 or 12 bits stored in 16 are common."""
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise CorruptPicture("the image has pixels that are not finite numbers")
    low, high = min(values.min(), 0.0), values.max()
    scaled: Pixels = np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
    return scaled
