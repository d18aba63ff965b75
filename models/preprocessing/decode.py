"""Decodes image files to pixels: formats, size limit, orientation, bit depth."""

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from models.errors import CorruptPicture, TooComplex
from models.preprocessing.file_structure import (
    MAX_PIXELS,
    PNG_SIGNATURE,
    FileStructure,
    Format,
    count_png_chunks,
    find_format,
    png_size,
    read_structure,
)

MAX_SIDE = 640  # pixels; larger images are averaged down to this, as a digit needs no more
SMALL_SIDE = 32  # pixels; normalising larger images takes longer than handing them to a thread
SMALL_BYTES, SMALL_PARTS = 8_192, 16  # the most bytes and chunks of a file that is decoded on the event loop
BAND_PIXELS = 1 << 20  # converted at a time, which saves a second copy of the whole image

Pixels = NDArray[np.uint8]

_OPENERS: dict[Format, type[ImageFile.ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
    "WEBP": WebPImageFile,
    "TIFF": TiffImageFile,
}
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
# What an image makes Pillow complain about is told to whoever sent it, and to nobody else.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


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

    The bytes alone decide the format. The file's structure is read, and limited, before any pixel is decoded.
    Raises UnknownFormat, TooManyPixels, TooComplex or CorruptPicture.
    """
    if (pixels := _decode_plain_png(data, max_pixels)) is not None:
        return Picture(pixels)
    return decode_structure(read_structure(data, max_pixels))


def decode_structure(file: FileStructure) -> Picture:
    """Decodes a file whose structure was read. Raises CorruptPicture, and TooComplex when memory ends."""
    try:
        with _OPENERS[file.kind](io.BytesIO(file.data)) as image:
            factor = ceil(max(image.size) / MAX_SIDE)
            size = max(1, image.width // factor), max(1, image.height // factor)
            image.draft(None, size)  # decodes a JPEG at reduced size
            image.load()
            return _picture(image, file)
    except CorruptPicture:
        raise
    except MemoryError:
        raise TooComplex(f"decoding the {file.kind} image takes more memory than there is") from None
    except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error, ...
        raise CorruptPicture(f"the {file.kind} image is truncated or corrupt: {error}") from error


def is_small(data: bytes) -> bool:
    """Whether to decode and normalise the image on the event loop: it is a small PNG, or no image at all."""
    if len(data) > SMALL_BYTES:
        return False
    if find_format(data) != "PNG":
        return find_format(data) is None
    return max(png_size(data)) <= SMALL_SIDE and count_png_chunks(data, SMALL_PARTS + 1) <= SMALL_PARTS


# The signature; the IHDR chunk with width, height, five bytes of format and a checksum; the head of the next chunk.
_PLAIN_PNG = struct.Struct(">8s 8s I I 5s I I 4s")
_IHDR = b"\0\0\0\x0dIHDR"
_GREY = b"\x08\0\0\0\0"  # eight bits, grey, not interlaced
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
_MAX_PLAIN_PIXELS = 65_536


def _decode_plain_png(data: bytes, max_pixels: int) -> Pixels | None:
    """Decodes a small grey PNG of three chunks; returns None for anything else.

    Pillow spends more time on plugins, metadata and special cases, which such a file has none of, than on decoding it.
    """
    if len(data) < _PLAIN_PNG.size or not data.endswith(_IEND):
        return None
    magic, head, width, height, kind, header_sum, length, name = _PLAIN_PNG.unpack_from(data)
    if (
        magic != PNG_SIGNATURE
        or head != _IHDR
        or kind != _GREY
        or name != b"IDAT"
        or _PLAIN_PNG.size + length + 4 + len(_IEND) != len(data)
        or not 0 < width * height <= min(_MAX_PLAIN_PIXELS, max_pixels)
        or zlib.crc32(data[12:29]) != header_sum
        or zlib.crc32(data[37:-16]) != int.from_bytes(data[-16:-12], "big")
    ):
        return None
    try:
        image = Image.frombytes("L", (width, height), data[41:-16], "zip", ("L", 0))
    except ValueError:  # truncated or corrupt; the general decoder says which
        return None
    return np.frombuffer(bytearray(image.tobytes()), np.uint8).reshape(height, width)


def _picture(image: Image.Image, file: FileStructure) -> Picture:
    lossy, oriented = file.kind in ("JPEG", "WEBP"), file.orientation != 1

    def pixels_in(mode: str) -> NDArray[Any]:
        reduced = _reduce(image, mode)
        return np.asarray(reduced.transpose(_UPRIGHT[file.orientation]) if oriented else reduced)

    if image.has_transparency_data:
        rgba = pixels_in("RGBA")
        alpha = None if (rgba[..., 3] == 255).all() else np.ascontiguousarray(rgba[..., 3])
        return Picture(_grey_if_grey(rgba[..., :3]), alpha, lossy, oriented)
    if image.mode.startswith(("I", "F")):
        pixels = _to_eight_bits(pixels_in("F"))
    elif image.mode in ("1", "L"):
        pixels = pixels_in("L")
    else:
        pixels = _grey_if_grey(pixels_in("RGB"))
    return Picture(pixels, None, lossy, oriented)


def _reduce(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image and averages it down to at most MAX_SIDE pixels."""
    factor = ceil(max(image.size) / MAX_SIDE)
    if factor == 1:
        return image.convert(mode)
    width, height = (ceil(side / factor) for side in image.size)
    scale = image.height / height
    reduced = Image.new(mode, (width, height))
    rows = max(1, BAND_PIXELS // (factor * image.width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        start, end = top * scale, min(bottom * scale, image.height)
        first = floor(start)
        band = image.crop((0, first, image.width, ceil(end))).convert(mode)
        box = (0, start - first, image.width, end - first)
        reduced.paste(band.resize((width, bottom - top), Image.Resampling.BOX, box), (0, top))
    return reduced


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
