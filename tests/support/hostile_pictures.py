"""Pictures made to cost a decoder much time or memory for few bytes, each written byte by byte.

`HOSTILE` maps a name to a function that makes the file, and to the problem with which it is refused. Their pixels are
blank: a file that is decoded in spite of what it has too much of shows nothing drawn. `LARGE` has files that a service
reads as long as the processor is fast enough.
"""

import io
import lzma
import struct
import zlib
from collections.abc import Callable

from PIL import Image

COMPLEX = "too-complex"
PIXELS = "too-many-pixels"
CORRUPT = "corrupt-picture"
BLANK = "nothing-drawn"

Maker = Callable[[], bytes]


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, depth: int = 8, colour: int = 0, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def zeros(count: int) -> bytes:
    """That many zero bytes, compressed: one compressed mebibyte again and again, as compressing takes long."""
    compressor = zlib.compressobj(9, wbits=-15)
    mebibyte = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    rest = compressor.compress(bytes(count % (1 << 20))) + compressor.flush()
    checksum = struct.pack(">HH", count % 65521, 1)  # Adler-32 of zeros
    return b"\x78\xda" + mebibyte * (count >> 20) + rest + checksum


def png(*chunks: bytes, size: tuple[int, int] = (28, 28), idat: bytes | None = None, after: bytes = b"") -> bytes:
    """A grey PNG with chunks before and after its pixels."""
    width, height = size
    data = zeros((width + 1) * height) if idat is None else idat
    pixels = chunk(b"IDAT", data)
    return b"\x89PNG\r\n\x1a\n" + header(width, height) + b"".join(chunks) + pixels + after + chunk(b"IEND")


def coloured_png(side: tuple[int, int], depth: int, colour: int, interlace: int = 0, extra: bytes = b"") -> bytes:
    width, height = side
    row = (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8 + 1
    pixels = chunk(b"IDAT", zeros(row * height + (8 * height if interlace else 0)))
    return b"\x89PNG\r\n\x1a\n" + header(width, height, depth, colour, interlace) + extra + pixels + chunk(b"IEND")


def exif(tags: int, kind: int = 3, next_ifd: int = 0, byte_order: str = "<") -> bytes:
    """A TIFF header and one directory of that many different tags, the first of which says orientation 6."""
    entries = b"".join(
        struct.pack(byte_order + "HHII", 0x0112 + number if number else 0x0112, kind, 1, 6) for number in range(tags)
    )
    start = b"II*\0" if byte_order == "<" else b"MM\0*"
    return (
        start
        + struct.pack(byte_order + "I", 8)
        + struct.pack(byte_order + "H", tags)
        + entries
        + struct.pack(byte_order + "I", next_ifd)
    )


def encoded(kind: str, size: tuple[int, int] = (28, 28), mode: str = "L", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(*segments: bytes, size: tuple[int, int] = (28, 28), after: bytes = b"", **options: object) -> bytes:
    """A grey JPEG with segments after its first marker and bytes before its last one."""
    data = encoded("JPEG", size, **options)
    return data[:2] + b"".join(segments) + data[2:-2] + after + data[-2:]


def scans(count: int, size: tuple[int, int]) -> bytes:
    """A grey progressive JPEG that repeats an empty scan."""
    data = encoded("JPEG", size, progressive=True)
    return data[:-2] + (segment(0xDA, bytes([1, 1, 0, 1, 5, 0])) + b"\0") * count + data[-2:]


def bmp(width: int, height: int, compression: int, pixels: bytes, bits: int = 8, colours: int = 256) -> bytes:
    palette = bytes(4 * min(colours, 65536)) if bits <= 8 else b""
    information = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, colours if bits <= 8 else 0, 0
    )
    offset = 14 + len(information) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + information + palette + pixels


def gif(width: int, height: int, before: bytes = b"", codes: bytes = b"\x02\x44\x01\x00", after: bytes = b";") -> bytes:
    """codes: the minimum code size's byte is not part of them."""
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return screen + before + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + codes + after


def blocks(data: bytes, size: int = 255) -> bytes:
    """Data sub-blocks of a GIF, with their end."""
    return b"".join(bytes([len(data[i : i + size])]) + data[i : i + size] for i in range(0, len(data), size)) + b"\0"


class Tags:
    """A little-endian TIFF under construction: its tags, and the bytes that they point to."""

    def __init__(self, width: int, height: int, compression: int = 1, **tags: int) -> None:
        self.entries: dict[int, tuple[int, int, bytes]] = {}
        for number, value in {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1}.items():
            self.set(number, value)

    def set(self, tag: int, *values: int, kind: int = 4) -> None:
        form = {1: "B", 3: "H", 4: "I", 16: "Q"}[kind]
        self.entries[tag] = kind, len(values), struct.pack(f"<{len(values)}{form}", *values)

    def write(self, pixels: bytes, next_ifd: int = 0) -> bytes:
        """The pixels begin at offset 8, and the directory follows them."""
        start = 8 + len(pixels)
        extra_at = start + 2 + 12 * len(self.entries) + 4
        directory, extra = struct.pack("<H", len(self.entries)), b""
        for tag, (kind, count, data) in sorted(self.entries.items()):
            value = data.ljust(4, b"\0")
            if len(data) > 4:
                value = struct.pack("<I", extra_at + len(extra))
                extra += data
            directory += struct.pack("<HHI", tag, kind, count) + value
        return b"II*\0" + struct.pack("<I", start) + pixels + directory + struct.pack("<I", next_ifd) + extra


def tiff_tile(tile: int, compression: int = 8) -> bytes:
    """28 x 28 pixels in one tile of that side."""
    tags = Tags(28, 28, compression)
    pixels = zeros(tile * tile) if compression == 8 else lzma.compress(bytes(tile * tile), preset=0)
    tags.set(322, tile)
    tags.set(323, tile)
    tags.set(324, 8)
    tags.set(325, len(pixels))
    return tags.write(pixels)


def tiff_strips(count: int, width: int, rows: int, compression: int = 1) -> bytes:
    """Strips that all lie at the same place."""
    tags = Tags(width, count * rows, compression)
    pixels = bytes(width * rows) if compression == 1 else zeros(width * rows)
    tags.set(278, rows)
    tags.set(273, *[8] * count)
    tags.set(279, *[len(pixels)] * count)
    return tags.write(pixels)


def tiff_page(
    width: int,
    height: int,
    compression: int = 1,
    pixels: bytes = bytes(784),
    *,
    rows: int = 0,
    orientation: int = 1,
    more_tags: int = 0,
    next_ifd: int = 0,
) -> bytes:
    """One strip. rows: how many rows it says that a strip has, all of them unless given."""
    tags = Tags(width, height, compression)
    for tag, value in {273: 8, 274: orientation, 278: rows or height, 279: len(pixels)}.items():
        tags.set(tag, value)
    for number in range(more_tags):
        tags.set(1000 + number, 1, 2, 3)
    return tags.write(pixels, next_ifd)


def tiff_value_count(count: int) -> bytes:
    """Bits per sample and strip offsets with far more values than there are samples and strips."""
    tags = Tags(28, 28)
    tags.set(258, *[8] * count, kind=3)
    tags.set(278, 28)
    tags.set(273, *[8] * count)
    tags.set(279, *[784] * count)
    return tags.write(bytes(28 * 28))


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_canvas(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    """An animation whose only frame is 28 x 28 on a canvas of that size."""
    extended = bytes([0x02, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    simple = encoded("WEBP", lossless=True)
    frame = b"\0" * 6 + (27).to_bytes(3, "little") * 2 + b"\0\0\0\0" + simple[12:]
    return riff((b"VP8X", extended), (b"ANIM", bytes(6)), *more, (b"ANMF", frame))


class Bits:
    """Writes the least significant bit first, as lossless WebP does."""

    def __init__(self) -> None:
        self._value = 0
        self._count = 0
        self._parts = bytearray()

    def write(self, value: int, bits: int) -> None:
        self._value |= value << self._count
        self._count += bits
        while self._count >= 8:
            self._parts.append(self._value & 255)
            self._value >>= 8
            self._count -= 8

    def bytes(self) -> bytes:
        return bytes(self._parts) + bytes([self._value & 255, 0])


def empty_blocks(count: int) -> bytes:
    """That many blocks of deflate that have Huffman codes and unpack to nothing; eight of them fill 90 bytes."""
    bits = Bits()
    for _ in range(8):
        bits.write(0b100, 3)
        bits.write(0, 5 + 5)  # 257 lengths of literals, one of distances
        bits.write(18 - 4, 4)
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
            bits.write(symbol in (1, 18), 3)
        for zeros_in_turn in (138, 118):
            bits.write(1, 1)
            bits.write(zeros_in_turn - 11, 7)
        bits.write(0, 3)  # the end of a block, and a distance, have one bit; the end of the block
    return bits.bytes()[:90] * (count // 8)


def webp_huffman_groups(side: int, count: int) -> bytes:
    """A lossless WebP whose pixels of 4 x 4 choose among that many groups of Huffman codes."""
    bits = Bits()
    bits.write(0x2F, 8)
    bits.write(side - 1, 14)
    bits.write(side - 1, 14)
    bits.write(0, 1 + 3)  # opaque, version 0
    bits.write(0, 1)  # no transform
    bits.write(1, 1)  # a colour cache, which makes tables larger
    bits.write(11, 4)
    bits.write(1, 1)  # many groups
    bits.write(0, 3)  # of 4 x 4 pixels
    bits.write(0, 1)  # the image of groups has no colour cache
    # The image of groups: green and red count up, everything else is 0.
    for alphabet in ("green", "red", "blue", "alpha", "distance"):
        if alphabet in ("green", "red"):
            _code_of_eight_bits(bits, 256 + 24 if alphabet == "green" else 256)
        else:
            _code_of_one(bits)
    cells = -(-side // 4)
    for cell in range(cells * cells):
        group = min(cell, count - 1)
        bits.write(_reversed(group & 255), 8)
        bits.write(_reversed(group >> 8), 8)
    for _ in range(5 * count):
        _code_of_one(bits)
    return riff((b"VP8L", bits.bytes()))


def _code_of_one(bits: Bits) -> None:
    """A simple code of the symbol 0, which takes no bits."""
    bits.write(1, 1)
    bits.write(0, 1)
    bits.write(0, 1)
    bits.write(0, 1)


def _code_of_eight_bits(bits: Bits, alphabet: int) -> None:
    """A code in which the symbols 0 to 255 have eight bits each and the others have none."""
    order = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    used = 12
    bits.write(0, 1)
    bits.write(used - 4, 4)
    for symbol in order[:used]:
        bits.write(1 if symbol in (0, 8) else 0, 3)
    bits.write(1, 1)
    bits.write(3, 3)  # the number of lengths that follow takes 8 bits
    bits.write(256 - 2, 8)
    for _ in range(256):
        bits.write(1, 1)  # length 8


def _reversed(value: int) -> int:
    return int(f"{value:08b}"[::-1], 2)


def itxt(text: bytes) -> bytes:
    return chunk(b"iTXt", b"Comment\0\x01\0\0\0" + zlib.compress(text, 9))


def apng(frames: int) -> bytes:
    control = struct.pack(">IIIIIHHBB", 0, 28, 28, 0, 0, 1, 1, 0, 0)
    data = zeros(29 * 28)
    later = b"".join(
        chunk(b"fcTL", struct.pack(">I", 2 * number + 1) + control[4:])
        + chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + data)
        for number in range(frames)
    )
    return png(chunk(b"acTL", struct.pack(">II", frames, 0)), chunk(b"fcTL", control), after=later)


def mpo(frames: int) -> bytes:
    """A JPEG whose multi-picture index has that many entries."""
    entries = struct.pack("<IIIHH", 0, 100, 0, 0, 0) * frames
    tags = struct.pack("<HHII", 0xB000, 7, 4, 0x30303130) + struct.pack("<HHII", 0xB001, 4, 1, frames)
    tags += struct.pack("<HHII", 0xB002, 7, len(entries), 8 + 2 + 36 + 4)
    index = b"MPF\0II*\0" + struct.pack("<IH", 8, 3) + tags + struct.pack("<I", 0) + entries
    return jpeg(segment(0xE2, index))


def noise(count: int) -> bytes:
    """Bytes that no compressor makes smaller."""
    found, state = bytearray(), 1
    while len(found) < count:
        state = zlib.crc32(state.to_bytes(4, "big"))
        found += state.to_bytes(4, "big")
    return bytes(found[:count])


def lzw_clear_codes(count: int) -> bytes:
    """A GIF's codes that only clear the table: three bits each, of which eight fill three bytes."""
    return blocks(b"\x24\x49\x92" * (count // 8))


HOSTILE: dict[str, tuple[Maker, str]] = {
    # Sides and pixels
    "PNG, 1 x 50,000,000": (lambda: png(size=(1, 50_000_000)), PIXELS),
    "PNG, 49,000,000 x 1": (lambda: png(size=(49_000_000, 1)), PIXELS),
    "PNG, 2^31 - 1 x 2^31 - 1": (lambda: png(size=(2**31 - 1, 2**31 - 1), idat=zeros(9)), PIXELS),
    "PNG, 2^32 - 1 x 1": (lambda: png(size=(2**32 - 1, 1), idat=zeros(9)), PIXELS),
    "PNG, 0 x 28": (lambda: png(size=(0, 28)), CORRUPT),
    "PNG, 28 x 0": (lambda: png(size=(28, 0)), CORRUPT),
    "BMP, 49,000,000 x 1, RLE8": (lambda: bmp(49_000_000, 1, 1, b"\x01\0\0\0\0\x01"), PIXELS),
    "BMP, 2^31 - 1 x -(2^31 - 1)": (lambda: bmp(2**31 - 1, 1 - 2**31, 0, b""), PIXELS),
    "BMP, 0 x 0": (lambda: bmp(0, 0, 0, b""), CORRUPT),
    "BMP, negative width": (lambda: bmp(-28, 28, 0, bytes(784)), PIXELS),
    "GIF, 65,535 x 65,535": (lambda: gif(65535, 65535), PIXELS),
    "GIF, 7,000 x 7,000 of no pixels": (lambda: gif(7000, 7000), CORRUPT),
    "GIF, 0 x 0": (lambda: gif(0, 0), CORRUPT),
    "WebP, canvas 16,777,216 x 16,777,216": (lambda: webp_canvas(1 << 24, 1 << 24), PIXELS),
    "WebP, canvas 16,777,216 x 2": (lambda: webp_canvas(1 << 24, 2), PIXELS),
    "WebP, canvas 7,000 x 7,000": (lambda: webp_canvas(7000, 7000), COMPLEX),
    "WebP, 7,000 x 7,000": (lambda: encoded("WEBP", (7000, 7000), method=0), COMPLEX),
    "WebP, 7,000 x 7,000 lossless": (lambda: encoded("WEBP", (7000, 7000), "RGBA", lossless=True, method=0), COMPLEX),
    "TIFF, 2^32 - 1 x 1": (lambda: Tags(2**32 - 1, 1).write(b""), PIXELS),
    "TIFF, 0 x 0": (lambda: Tags(0, 0).write(b""), CORRUPT),
    "JPEG, 65,500 x 763": (lambda: encoded("JPEG", (65500, 763), quality=1), BLANK),
    "JPEG, 28 x 0": (lambda: jpeg().replace(b"\x08\x00\x1c\x00\x1c", b"\x08\x00\x00\x00\x1c"), CORRUPT),
    # Parts of a file's structure
    "PNG, 87,000 zTXt": (lambda: png(chunk(b"zTXt") * 87_000), COMPLEX),
    "PNG, 830,000 zTXt": (lambda: png(chunk(b"zTXt") * 830_000), COMPLEX),
    "PNG, 830,000 unknown chunks": (lambda: png(chunk(b"abCd") * 830_000), COMPLEX),
    "PNG, 830,000 unknown chunks after the pixels": (lambda: png(after=chunk(b"abCd") * 830_000), COMPLEX),
    "PNG, 5,000 tEXt in 60 kB": (
        lambda: png(*[chunk(b"tEXt", b"%d\0" % number) for number in range(5000)]),
        BLANK,
    ),
    "PNG, 800,000 empty IDAT": (lambda: png(after=chunk(b"IDAT") * 800_000), COMPLEX),
    "PNG, eXIf of 60,000 tags": (lambda: png(chunk(b"eXIf", exif(60_000))), BLANK),
    "PNG, eXIf of 60,000 big-endian tags": (lambda: png(chunk(b"eXIf", exif(60_000, 3, 0, ">"))), BLANK),
    "PNG, eXIf that loops": (lambda: png(chunk(b"eXIf", exif(20, 4, next_ifd=8))), BLANK),
    "PNG, iTXt of 600 MB": (lambda: png(*[itxt(bytes(64 << 20))] * 9), BLANK),
    "PNG, iCCP of 100 MB": (lambda: png(chunk(b"iCCP", b"a\0\0" + zeros(100 << 20))), BLANK),
    "PNG, IDAT of 1 GB for 28 x 28": (lambda: png(idat=zeros(1 << 30)), COMPLEX),
    "PNG, 700,000 deflate blocks of no bytes": (
        lambda: png(idat=b"\x78\xda" + empty_blocks(700_000) + zeros(29 * 28)[2:]),
        COMPLEX,
    ),
    "PNG, palette of 10 MB": (lambda: png(chunk(b"PLTE", bytes(3_000_000) * 3)), CORRUPT),
    "PNG, tRNS of 9 MB": (
        lambda: coloured_png((28, 28), 8, 3, 0, chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", b"\xff" * 9_000_000)),
        CORRUPT,
    ),
    "PNG, 50,000 IHDR": (lambda: png(header(28, 28) * 50_000), CORRUPT),
    "PNG, a second IHDR of 50 megapixels": (lambda: png(header(7000, 7000)), CORRUPT),
    "PNG, a chunk that is longer than the file": (
        lambda: png(struct.pack(">I", 2**32 - 1) + b"abCd"),
        CORRUPT,
    ),
    "APNG, 5,000 frames": (lambda: apng(5000), BLANK),
    "JPEG, 1,600,000 APP1": (lambda: jpeg(segment(0xE1, b"") * 2_500_000), COMPLEX),
    "JPEG, 700,000 Exif": (lambda: jpeg(segment(0xE1, b"Exif\0\0ab") * 800_000), COMPLEX),
    "JPEG, 2,500,000 COM": (lambda: jpeg(segment(0xFE, b"") * 2_500_000), COMPLEX),
    "JPEG, 60,000 ICC": (lambda: jpeg(segment(0xE2, b"ICC_PROFILE\0\x01\xff" + bytes(100)) * 60_000), COMPLEX),
    "JPEG, 150,000 quantisation tables": (lambda: jpeg(segment(0xDB, b"\0" + b"\x01" * 64) * 140_000), COMPLEX),
    "JPEG, 10 MB between segments": (lambda: jpeg(segment(0xE0, b"") + bytes(10_000_000)), BLANK),
    "JPEG, 10 MB of fill bytes": (lambda: jpeg(b"\xff" * 10_000_000), BLANK),
    "JPEG, 10 MB of fill bytes among pixels": (lambda: jpeg(after=b"\xff" * 10_000_000), BLANK),
    "JPEG, 5,000,000 restart markers": (lambda: jpeg(after=b"\xff\xd0" * 5_000_000), BLANK),
    "JPEG, 5,000,000 stuffed bytes": (lambda: jpeg(after=b"\xff\x00" * 5_000_000), BLANK),
    "JPEG, Exif of 5,000 tags": (lambda: jpeg(segment(0xE1, b"Exif\0\0" + exif(5000))), BLANK),
    "JPEG, 750,000 Photoshop resources": (
        lambda: jpeg(segment(0xED, b"Photoshop 3.0\0" + (b"8BIM\4\4\0\0" + bytes(4)) * 5000) * 150),
        BLANK,
    ),
    "JPEG, 8,000 scans": (lambda: scans(8000, (2000, 2000)), COMPLEX),
    "JPEG, 700,000 scans": (lambda: scans(700_000, (28, 28)), COMPLEX),
    "JPEG, 60 scans of 49 megapixels": (lambda: scans(60, (7000, 7000)), COMPLEX),
    "JPEG, progressive, 49 megapixels in colour": (
        lambda: encoded("JPEG", (7000, 7000), "RGB", progressive=True, subsampling=0, quality=1),
        COMPLEX,
    ),
    "MPO, 3,000 pictures": (lambda: mpo(3000), BLANK),
    "GIF, 3,000,000 empty extensions": (lambda: gif(28, 28, b"!\x01\0" * 3_000_000), COMPLEX),
    "GIF, 4,500,000 comments": (lambda: gif(28, 28, b"!\xfe" + b"\x01a" * 4_500_000 + b"\0"), COMPLEX),
    "GIF, 9,000,000 bytes between blocks": (lambda: gif(28, 28, b"a" * 9_000_000), COMPLEX),
    "GIF, 26,000,000 clear codes": (
        lambda: gif(28, 28, codes=lzw_clear_codes(26_000_000)),
        CORRUPT,
    ),
    "GIF, 4,900,000 blocks of one byte": (
        lambda: gif(28, 28, codes=blocks(b"\x24\x49\x92" * 1_600_000, 1)),
        CORRUPT,
    ),
    "GIF, a frame beyond its screen": (
        lambda: gif(28, 28).replace(b"," + struct.pack("<HHHH", 0, 0, 28, 28), b"," + b"\xff" * 8),
        PIXELS,
    ),
    "GIF, 100,000 frames": (lambda: gif(28, 28, after=gif(28, 28)[19:-1] * 100_000 + b";"), CORRUPT),
    "WebP, 1,000,000 chunks": (lambda: webp_canvas(28, 28, *[(b"abcd", b"")] * 1_000_000), COMPLEX),
    "WebP, 65,536 groups of Huffman codes": (lambda: webp_huffman_groups(1024, 65_536), CORRUPT),
    "BMP, 700 x 700, RLE8 of 5,000,000 empty runs": (
        lambda: bmp(700, 700, 1, b"\xff\0" * 10 + b"\x01\0" * 4_900_000),
        COMPLEX,
    ),
    "BMP, 7,000 x 7,000, RLE4": (lambda: bmp(7000, 7000, 2, b"\xff\0\0\0" * 7000, 4, 16), COMPLEX),
    "BMP, 16-bit masks that nobody uses": (lambda: bmp(28, 28, 3, bytes(2000), 16), CORRUPT),
    "BMP, palette of 65,536": (lambda: bmp(28, 28, 0, bytes(784), 8, 65536), CORRUPT),
    "BMP, 7,000 x 7,000 of no pixels": (lambda: bmp(7000, 7000, 0, b"", 24), CORRUPT),
    "BMP, OS/2 header, 65,535 x 700": (
        lambda: b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 26, 12, 65535, 700, 1, 24) + bytes(99),
        CORRUPT,
    ),
    "BMP, a header of 4 GB": (lambda: b"BM" + struct.pack("<IHHII", 0, 0, 0, 26, 2**32 - 1) + bytes(99), CORRUPT),
    "TIFF, 28 x 28 in a tile of 44,000 x 44,000": (lambda: tiff_tile(44_000), COMPLEX),
    "TIFF, 28 x 28 in a tile of 6,000 x 6,000": (lambda: tiff_tile(6_000), BLANK),
    "TIFF, 28 x 28 in a tile of 12,000 x 12,000, LZMA": (lambda: tiff_tile(12_000, 34925), COMPLEX),
    "TIFF, a strip of 2^32 - 1 rows": (
        lambda: tiff_page(28, 28, 8, zeros(784), rows=2**32 - 1),
        BLANK,
    ),
    "TIFF, 1,000,000 strips of one pixel": (lambda: tiff_strips(1_000_000, 1, 1), PIXELS),
    "TIFF, 50,000 tags": (lambda: tiff_page(28, 28, more_tags=50_000), COMPLEX),
    "TIFF, a directory that loops": (lambda: tiff_page(28, 28, next_ifd=8 + 784), BLANK),
    "TIFF, 1,000,000 values in a tag": (lambda: tiff_value_count(1_000_000), COMPLEX),
    "TIFF, a strip that is a JPEG of 60,000 scans": (
        lambda: tiff_page(2000, 2000, 7, scans(60_000, (2000, 2000))),
        CORRUPT,
    ),
    "TIFF, 7,000 x 7,000 of no pixels": (lambda: Tags(7000, 7000).write(b""), CORRUPT),
    "TIFF, its directory beyond its end": (lambda: b"II*\0" + struct.pack("<I", 2**31) + bytes(99), CORRUPT),
}

LARGE: dict[str, tuple[Maker, str]] = {
    "PNG, 400,000 deflate blocks of no bytes among 4 megapixels": (
        lambda: png(size=(2000, 2000), idat=b"\x78\xda" + empty_blocks(400_000) + zeros(2001 * 2000)[2:]),
        BLANK,
    ),
    "PNG, 48 megapixels RGBA": (lambda: coloured_png((8000, 6000), 8, 6), BLANK),
    "PNG, 48 megapixels of 16 bits": (lambda: coloured_png((8000, 6000), 16, 6), BLANK),
    "PNG, 48 megapixels, interlaced": (lambda: coloured_png((8000, 6000), 8, 2, 1), BLANK),
    "TIFF, 60,000 strips of 800 pixels": (lambda: tiff_strips(60_000, 800, 1), BLANK),
    "TIFF, 60,000 deflated strips of 800 pixels": (lambda: tiff_strips(60_000, 800, 1, 8), BLANK),
    "TIFF, 49 megapixels, upside down": (
        lambda: tiff_page(7000, 7000, 8, zeros(49_000_000), orientation=3),
        BLANK,
    ),
}
