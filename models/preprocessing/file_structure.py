"""Reads the structure of an image file before a decoder sees it, and bounds what decoding may cost.

Decoders bound pixels at best. They parse every chunk, tag and scan that a file has, some of them in Python or in
quadratic time, so that a small file can take minutes. Reading the structure takes milliseconds for any 10 MB, leaves
out what pixels do not need (metadata, further frames), and refuses a file whose parts are too many or too large.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from math import ceil
from typing import Literal, get_args

from models.errors import CorruptPicture, TooComplex, TooManyPixels, UnknownFormat

Format = Literal["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"]
FORMATS: tuple[Format, ...] = get_args(Format)
MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535  # pixels; the most that a JPEG or a GIF can have
MAX_PARTS = 16_384  # chunks, segments or blocks; 10 MB of PNG in chunks of 1 kB have fewer
MAX_BLOCK_VISITS = 32_000_000  # 8 x 8 blocks that a JPEG's scans pass; 50 megapixels in 10 scans have 10 million
MAX_RLE_PIXELS, MAX_RLE_BYTES = 1 << 19, 1 << 17  # Pillow decodes run lengths in Python
MAX_TAG_VALUES = 1 << 17  # two for each row of the highest image: where its strip is, and its size
EXTRA_MEMORY = 24_000_000  # bytes that decoding may hold beside four for each pixel of the largest image

# What a thread decodes, in some 0.1 s: it writes so much memory, and unpacks so many bytes. A process decodes the rest.
THREAD_MEMORY = 16_000_000
THREAD_DEFLATED = 1_000_000  # each byte may take 0.1 us, as a block of eleven bytes may unpack to nothing
THREAD_BLOCK_VISITS = 1_000_000
_FOREIGN = ("WEBP", "TIFF")  # their libraries' memory and time cannot be told from the file's structure

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAGIC: dict[Format, tuple[bytes, ...]] = {
    "PNG": (PNG_SIGNATURE,),
    "JPEG": (b"\xff\xd8\xff",),
    "BMP": (b"BM",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
}
_TEXT_FORMATS = ((b"%pdf", "PDF"), (b"<svg", "SVG"), (b"<?xml", "SVG or XML"), (b"{", "JSON"), (b"[", "JSON"))


@dataclass(frozen=True)
class FileStructure:
    """What a decoder gets, and what it may cost.

    data: the file, without what pixels do not need. orientation: as EXIF counts, 1 to 8. memory: the most bytes that
    decoding holds at a time. block_visits: see MAX_BLOCK_VISITS. deflated: how many bytes of pixels zlib unpacks.
    """

    kind: Format
    data: bytes
    width: int
    height: int
    memory: int
    orientation: int = 1
    block_visits: int = 0
    deflated: int = 0

    @property
    def isolated(self) -> bool:
        """Whether a process of its own should decode the file, which can be limited and ended."""
        return (
            self.kind in _FOREIGN
            or self.memory > THREAD_MEMORY
            or self.block_visits > THREAD_BLOCK_VISITS
            or self.deflated > THREAD_DEFLATED
        )


def read_structure(data: bytes, max_pixels: int = MAX_PIXELS) -> FileStructure:
    """Raises UnknownFormat, TooManyPixels, TooComplex or CorruptPicture."""
    kind = find_format(data)
    if kind is None:
        if not data:
            raise UnknownFormat("the file is empty")
        guess = f" (looks like {name})" if (name := sniff(data)) else ""
        raise UnknownFormat(f"unsupported image format{guess}; supported: {', '.join(FORMATS)}")
    try:
        found = _READERS[kind](data, max_pixels)
    except (struct.error, IndexError, OverflowError) as error:
        raise CorruptPicture(f"the {kind} image is truncated or corrupt: its header ends early") from error
    limit = 4 * max_pixels + EXTRA_MEMORY
    if found.memory > limit:
        raise TooComplex(
            f"decoding this {kind} image of {found.width} x {found.height} pixels takes {found.memory:,} bytes of "
            f"memory; the limit is {limit:,}; send a smaller image",
            limit=limit,
        )
    return found


def find_format(data: bytes) -> Format | None:
    """The supported format that the first bytes indicate."""
    for name, prefixes in _MAGIC.items():
        if data.startswith(prefixes):
            return name
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def sniff(data: bytes) -> str | None:
    """Names the format that the first bytes indicate: one of FORMATS, another kind of file, or None."""
    if (found := find_format(data)) is not None:
        return found
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


def _check_size(kind: Format, width: int, height: int, max_pixels: int) -> None:
    if width <= 0 or height <= 0:
        raise CorruptPicture(f"the {kind} image is corrupt: its header says {width} x {height} pixels")
    if width * height > max_pixels:
        raise TooManyPixels(
            f"{width} x {height} is {width * height:,} pixels; the limit is {max_pixels:,}", limit=max_pixels
        )
    if max(width, height) > MAX_SIDE:
        raise TooManyPixels(
            f"the image is {width} x {height} pixels; a side may have at most {MAX_SIDE:,}", limit=MAX_SIDE
        )


def _parts(kind: Format, parts: str) -> Iterator[int]:
    """Counts the parts of a file. Raises TooComplex when there are more than MAX_PARTS."""
    yield from range(MAX_PARTS)
    raise TooComplex(
        f"the {kind} image has more than {MAX_PARTS:,} {parts}; save it again without metadata", limit=MAX_PARTS
    )


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height, unchecked."""
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def count_png_chunks(data: bytes, at_most: int) -> int:
    """Counts the chunks of a PNG, whole or not, up to that many."""
    start = len(PNG_SIGNATURE)
    for count in range(at_most):
        if start >= len(data):
            return count
        start += 12 + int.from_bytes(data[start : start + 4], "big")
    return at_most


_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTES = {b"PLTE": 768, b"tRNS": 256}


def _read_png(data: bytes, max_pixels: int) -> FileStructure:
    """Keeps the header, the palette and the pixel data of the default image, the latter as one chunk."""
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[8:16] != b"\0\0\0\x0dIHDR" or colour not in _PNG_CHANNELS:
        raise CorruptPicture("the header of the PNG image is corrupt")
    _check_size("PNG", width, height, max_pixels)
    kept, pixels, orientation, start = [data[:33]], [], 1, 33
    for _ in _parts("PNG", "chunks"):
        length, kind = int.from_bytes(data[start : start + 4], "big"), data[start + 4 : start + 8]
        end = start + 12 + length
        if kind == b"IDAT":
            pixels.append(data[start + 8 : min(end - 4, len(data))])
            checksum = zlib.crc32(pixels[-1], zlib.crc32(kind))
            if end <= len(data) and checksum != int.from_bytes(data[end - 4 : end], "big"):
                raise CorruptPicture("the PNG image is corrupt: the checksum of its pixel data is wrong")
        elif kind == b"eXIf":
            orientation = _orientation(data[start + 8 : end - 4]) or 1
        elif kind in _PNG_PALETTES and not pixels:
            if length > _PNG_PALETTES[kind]:
                raise CorruptPicture(f"the PNG image is corrupt: its {kind.decode()} chunk has {length:,} bytes")
            kept.append(data[start:end])
        elif kind == b"IHDR":
            raise CorruptPicture("the PNG image is corrupt: it has two headers")
        if kind == b"IEND" or end > len(data):
            break
        start = end
    if not pixels:
        raise CorruptPicture("the PNG image is truncated or corrupt: it has no pixel data")
    compressed = b"".join(pixels)
    raw = (1 + ceil(width * depth * _PNG_CHANNELS[colour] / 8)) * height
    if len(compressed) > (limit := 2 * raw + 65_536):
        raise TooComplex(f"the pixel data of the PNG image has {len(compressed):,} bytes; {raw:,} suffice", limit=limit)
    # Nobody checks the last four bytes, the checksum of the pixel data, again.
    kept += [struct.pack(">I", len(compressed)), b"IDAT", compressed, bytes(4), b"\0\0\0\0IEND\xaeB`\x82"]
    # Pillow takes one byte for a pixel of one channel, two for a deep one, and otherwise four.
    size = 4 if _PNG_CHANNELS[colour] > 1 else 2 if depth == 16 else 1
    memory = width * height * size
    return FileStructure("PNG", b"".join(kept), width, height, memory, orientation, deflated=len(compressed))


_JPEG_FRAMES = {0xC0: False, 0xC1: False, 0xC2: True}
"""The markers of the frames that are decoded, and whether they are progressive."""
_JPEG_OTHER_FRAMES = {0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)}
"""Lossless, differential or arithmetic coding, which browsers do not read either; the last is slow."""
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # no stuffed byte, restart marker or fill byte
_FILL_BYTES = re.compile(rb"\xff+(?=\xff)")
_WINDOW = 1 << 16  # bytes searched at a time, because other threads wait meanwhile
_TEM, _SOI, _EOI, _SOS, _APP1, _ADOBE, _COMMENT = 0x01, 0xD8, 0xD9, 0xDA, 0xE1, 0xEE, 0xFE
_JPEG_UNNEEDED = {_TEM, _SOI, _COMMENT, *range(0xE0, 0xF0)} - {_ADOBE}
"""All application segments but Adobe's, which tells how colours are coded."""
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def _read_jpeg(data: bytes, max_pixels: int) -> FileStructure:
    """Keeps the first picture, without metadata."""
    kept, orientation, xmp_orientation, visits = [data[:2]], 0, 0, 0
    frame: _JpegFrame | None = None
    for marker, start, end in _jpeg_segments(data):
        content = data[start + 4 : end] if marker == _APP1 else b""
        if marker in _JPEG_OTHER_FRAMES:
            raise CorruptPicture(f"JPEG images of coding SOF{marker & 15} are not supported; save a plain JPEG")
        if marker in _JPEG_FRAMES:
            if frame is not None:
                raise CorruptPicture("the JPEG image is corrupt: it has two frame headers")
            frame = _read_jpeg_frame(data, start, max_pixels)
        elif marker == _SOS and frame is not None:
            components = data[start + 5 : start + 5 + 2 * data[start + 4] : 2]
            frame.buffered |= len(components) < len(frame.blocks)
            visits += sum(count for component, count in frame.blocks if component in components)
        elif content.startswith(_EXIF):
            orientation = orientation or _orientation(content[len(_EXIF) :])
        elif content.startswith(_XMP):
            xmp_orientation = _orientation_in_xmp(content)
        if marker not in _JPEG_UNNEEDED:
            part = data[start:end]
            kept.append(_FILL_BYTES.sub(b"", part) if marker == _SOS and b"\xff\xff" in part else part)
    if frame is None or not visits:
        raise CorruptPicture("the JPEG image is truncated or corrupt: it has no pixel data")
    if visits > MAX_BLOCK_VISITS:
        raise TooComplex(
            f"the scans of the JPEG image pass {visits:,} blocks of 8 x 8 pixels; the limit is {MAX_BLOCK_VISITS:,}; "
            "save it with fewer scans",
            limit=MAX_BLOCK_VISITS,
        )
    # An image with several scans is held as coefficients of two bytes; every image is decoded at a reduced size.
    memory = 4 * min(frame.width * frame.height, 1280**2)
    memory += 128 * sum(count for _, count in frame.blocks) if frame.buffered else 0
    orientation = orientation or xmp_orientation or 1
    return FileStructure("JPEG", b"".join(kept), frame.width, frame.height, memory, orientation, visits)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker, start and end of each segment of the first picture; that of a scan ends after its pixels."""
    start = 2
    for _ in _parts("JPEG", "segments and scans"):
        start = _next_marker(data, start)
        if start == len(data):
            return
        marker, end = data[start + 1], start + 2
        if marker not in (_TEM, _SOI, _EOI):
            end += int.from_bytes(data[end : end + 2], "big")
        if marker == _SOS:
            end = _next_marker(data, end)
        yield marker, start, end
        if marker == _EOI:
            return
        start = end


@dataclass
class _JpegFrame:
    """blocks: each component, and how many 8 x 8 blocks it has. buffered: whether libjpeg holds all until the end."""

    width: int
    height: int
    blocks: list[tuple[int, int]]
    buffered: bool


def _read_jpeg_frame(data: bytes, start: int, max_pixels: int) -> _JpegFrame:
    height, width, count = struct.unpack_from(">HHB", data, start + 5)
    _check_size("JPEG", width, height, max_pixels)
    components = [struct.unpack_from("BB", data, start + 10 + 3 * number) for number in range(count)]
    samplings = [(component, divmod(sampling, 16)) for component, sampling in components]
    if not samplings or any(not 1 <= factor <= 4 for _, pair in samplings for factor in pair):
        raise CorruptPicture("the JPEG image is corrupt: its frame header has impossible sampling factors")
    across, down = (max(pair[axis] for _, pair in samplings) for axis in (0, 1))
    blocks = [
        (component, ceil(width * horizontal / (8 * across)) * ceil(height * vertical / (8 * down)))
        for component, (horizontal, vertical) in samplings
    ]
    return _JpegFrame(width, height, blocks, _JPEG_FRAMES[data[start + 1]])


def _next_marker(data: bytes, start: int) -> int:
    for at in range(start, len(data), _WINDOW):
        if found := _JPEG_MARKER.search(data, at, at + _WINDOW + 1):
            return found.start()
    return len(data)


def _read_gif(data: bytes, max_pixels: int) -> FileStructure:
    """Keeps the first frame, with the last graphic control before it, which says what is transparent."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    start = screen_end = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control = b""
    parts = _parts("GIF", "blocks")
    for _ in parts:
        introducer = data[start]
        if introducer == 0x2C:
            break
        if introducer == 0x3B:
            raise CorruptPicture("the GIF image is corrupt: it has no frame")
        if introducer != 0x21:
            start += 1
        elif data[start + 1 : start + 3] == b"\xf9\x04":
            control = data[start : start + 7] + b"\0"
            start += 8
        else:
            start += 2
            while data[start]:
                start += 1 + data[start]
                next(parts)
            start += 1
    left, top, frame_width, frame_height = struct.unpack_from("<HHHH", data, start + 1)
    width, height = max(width, left + frame_width), max(height, top + frame_height)
    _check_size("GIF", width, height, max_pixels)
    return FileStructure("GIF", data[:screen_end] + control + data[start:], width, height, 2 * width * height)


def _read_bmp(data: bytes, max_pixels: int) -> FileStructure:
    header = struct.unpack_from("<I", data, 14)[0]
    if header == 12:
        width, height, bits, compression = *struct.unpack_from("<HHxxH", data, 18), 0
    else:
        width, height, bits, compression = struct.unpack_from("<IixxHI", data, 18)
    height = abs(height)
    _check_size("BMP", width, height, max_pixels)
    if compression in (1, 2):
        if width * height > MAX_RLE_PIXELS or len(data) > MAX_RLE_BYTES:
            raise TooComplex(
                f"a run-length encoded BMP may have at most {MAX_RLE_PIXELS:,} pixels and {MAX_RLE_BYTES:,} bytes; "
                "save the image as PNG",
                limit=MAX_RLE_PIXELS,
            )
    elif (needed := (width * bits + 31) // 32 * 4 * height) > len(data):
        raise CorruptPicture(f"the BMP image is truncated: its pixels take {needed:,} bytes, it has {len(data):,}")
    return FileStructure("BMP", data, width, height, width * height * (1 if bits <= 8 else 4))


def _read_webp(data: bytes, max_pixels: int) -> FileStructure:
    """Finds the size where libwebp does, and the orientation."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        packed = struct.unpack_from("<I", data, 21)[0]
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise CorruptPicture("the header of the WEBP image is corrupt")
    _check_size("WEBP", width, height, max_pixels)
    start, orientation = 12, 0
    for _ in _parts("WEBP", "chunks"):
        if start + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, start)
        end = start + 8 + length
        if name == b"EXIF":
            orientation = _orientation(data[start + 8 : end].removeprefix(_EXIF)) or orientation
        elif name == b"XMP ":
            orientation = orientation or _orientation_in_xmp(data[start + 8 : end])
        start = end + length % 2
    # Two canvases of the animation decoder, the pixels that it returns, and Pillow's; and, if lossless, the frame.
    memory = width * height * (20 if b"VP8L" in data else 16)
    return FileStructure("WEBP", data, width, height, memory, orientation or 1)


# fmt: off
_PIXEL_TAGS = {
    256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 334, 338, 339,
    340, 341, 347, *range(512, 522), *range(529, 533),
}
# fmt: on
"""The tags of a TIFF that its pixels need; all others are left out, because Pillow parses what they point to."""
_INTEGERS = {3: "H", 4: "I", 16: "Q"}
_BYTES = (1, 2, 6, 7)


def _read_tiff(data: bytes, max_pixels: int) -> FileStructure:
    """Keeps the first page's tags that its pixels need."""
    directory = _TiffDirectory(data)
    first = directory.first
    width, height, bits, channels = first(256, 0), first(257, 0), first(258, 1), first(277, 1)
    _check_size("TIFF", width, height, max_pixels)
    across, down = first(322, width), min(first(278, height), height) if 322 not in directory.entries else first(323, 0)
    # Pillow takes one byte for a pixel of up to eight bits, and at most four; libtiff holds a tile or a strip besides.
    size = 4 if channels > 1 or bits > 16 else 2 if bits > 8 else 1
    memory = width * height * size + across * down * max(1, channels * bits // 8)
    orientation = first(0x0112, 1)
    return FileStructure(
        "TIFF", directory.write(_PIXEL_TAGS), width, height, memory, orientation if 1 <= orientation <= 8 else 1
    )


class _TiffDirectory:
    """The first directory of a TIFF or a BigTIFF. entries: type, number of values, and value or offset, by tag."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        order = ">" if data.startswith(b"M") else "<"
        big = b"+" in data[2:4]
        self._order = order
        self._offset_at = 8 if big else 4
        self._offset = struct.Struct(order + ("Q" if big else "I"))
        self._count = struct.Struct(order + ("Q" if big else "H"))
        self._entry = struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
        start = self._offset.unpack_from(data, self._offset_at)[0]
        (count,) = self._count.unpack_from(data, start)
        start += self._count.size
        self.entries: dict[int, tuple[int, int, bytes]] = {}
        for number, _ in zip(range(count), _parts("TIFF", "tags"), strict=False):
            tag, *found = self._entry.unpack_from(data, start + number * self._entry.size)
            self.entries.setdefault(tag, (found[0], found[1], found[2]))

    def first(self, tag: int, default: int) -> int:
        """The first value of a tag of integers."""
        kind, count, value = self.entries.get(tag, (0, 0, b""))
        if kind not in _INTEGERS or not count:
            return default
        form = struct.Struct(self._order + _INTEGERS[kind])
        if count * form.size <= len(value):
            return int(form.unpack_from(value)[0])
        return int(form.unpack_from(self._data, self._offset.unpack(value)[0])[0])

    def write(self, tags: Set[int]) -> bytes:
        """The file with a directory of these tags alone, behind everything else. Raises TooComplex."""
        kept = {tag: found for tag, found in sorted(self.entries.items()) if tag in tags}
        for tag, (kind, count, _) in kept.items():
            if kind not in _BYTES and count > MAX_TAG_VALUES:
                raise TooComplex(f"tag {tag} of the TIFF image has {count:,} values", limit=MAX_TAG_VALUES)
        data, at, padding = self._data, self._offset_at, bytes(-len(self._data) % 8)
        head = data[:at] + self._offset.pack(len(data) + len(padding))
        directory = [self._entry.pack(tag, *found) for tag, found in kept.items()]
        end = self._offset.pack(0)
        return b"".join([head, data[len(head) :], padding, self._count.pack(len(kept)), *directory, end])


_READERS: dict[Format, Callable[[bytes, int], FileStructure]] = {
    "PNG": _read_png,
    "JPEG": _read_jpeg,
    "BMP": _read_bmp,
    "GIF": _read_gif,
    "WEBP": _read_webp,
    "TIFF": _read_tiff,
}

_MAX_EXIF_TAGS = 512


def _orientation(exif: bytes) -> int:
    """The orientation, 1 to 8, of the TIFF header and directory that EXIF is; 0 if it says none or is broken."""
    order = "<" if exif.startswith(b"II") else ">"
    try:
        directory = struct.unpack_from(order + "I", exif, 4)[0]
        count = struct.unpack_from(order + "H", exif, directory)[0]
        for number in range(min(count, _MAX_EXIF_TAGS)):
            tag, kind = struct.unpack_from(order + "HH", exif, directory + 2 + 12 * number)
            if tag == 0x0112 and kind in (3, 4):
                value = struct.unpack_from(order + ("H" if kind == 3 else "I"), exif, directory + 10 + 12 * number)[0]
                return value if 1 <= value <= 8 else 0
    except struct.error:
        pass
    return 0


_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def _orientation_in_xmp(xmp: bytes) -> int:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else 0
