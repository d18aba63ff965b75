"""Undoes the Content-Encoding of a request's body."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from app.http.problems import Problem

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""For zlib, which also tells the two formats apart by these."""
_INLINE_BYTES, _PIECE_BYTES = 65_536, 1_048_576


def find_encoding(header: bytes) -> str | None:
    """The encoding that a Content-Encoding names; None for a plain body. Raises Problem for one that we do not undo."""
    names = [name.strip().lower() for name in header.decode("latin-1").split(",")]
    encodings = [name for name in names if name not in ("", "identity")]
    if not encodings:
        return None
    if len(encodings) > 1 or encodings[0] not in _WINDOW_BITS:
        found = ", ".join(encodings)[:100]
        detail = f"the Content-Encoding is {found!r}; send the body as it is, or in gzip or deflate"
        raise Problem("unknown-encoding", detail)
    return encodings[0]


async def decode(body: bytes, encoding: str) -> AsyncIterator[bytes]:
    """The decoded body in pieces. Raises Problem if it is damaged.

    A thread decodes a large body, even one that decodes to nothing: empty blocks take time as well.
    """
    decoder = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        if len(body) <= _INLINE_BYTES:
            piece = decoder.decompress(body, _INLINE_BYTES)
        else:
            piece = await asyncio.to_thread(decoder.decompress, body, _PIECE_BYTES)
        while piece:
            yield piece
            piece = await asyncio.to_thread(decoder.decompress, decoder.unconsumed_tail, _PIECE_BYTES)
    except zlib.error as error:
        raise Problem("bad-request", f"the body is not {encoding}: {error}") from error
    if not decoder.eof or decoder.unused_data:
        raise Problem("bad-request", f"the body is not one whole {encoding} stream")
