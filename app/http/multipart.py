"""Multipart bodies: a parser for the form that nearly every client writes, and python-multipart for all others."""

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.http.problems import Problem

MAX_PARTS = 100
MAX_PARAMETERS = 64
"""One header may have so many. A body of 10 MB has room for millions, which take many seconds to parse."""
_INLINE_BYTES = 65_536
"""Longer bodies are parsed in a thread, unless `split` knows their form."""

_COMMON_TYPE = re.compile(rb"multipart/form-data; ?boundary=([\w'()+,./:=?-]{1,70})")
_COMMON_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="([\w.-]+)"(?:; filename="[^"\\\r\n]*")?\r\n'
    rb"(?:Content-Type: [\w.+/;= -]+\r\n)?\r\n"
)

# What is wrong with a body is told to whoever sent it, and to nobody else.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass
class Part:
    """One part of a multipart body."""

    name: str = ""
    data: bytes | bytearray = field(default_factory=bytearray)


class TooManyParts(Problem):
    def __init__(self, limit: int) -> None:
        super().__init__("malformed-multipart", f"the multipart body has more than {limit} parts")


def common_boundary(content_type: bytes) -> bytes | None:
    """The boundary in a Content-Type as nearly every client writes it; None for any other."""
    common = _COMMON_TYPE.fullmatch(content_type)
    return common[1] if common else None


def find_boundary(content_type: bytes) -> bytes | None:
    """The boundary of a multipart body; None for a body of another type. Raises Problem if it is missing."""
    if (common := common_boundary(content_type)) is not None:
        return common
    if content_type.partition(b";")[0].strip().lower() != b"multipart/form-data":
        return None
    if not (boundary := _parameters(content_type).get(b"boundary")):
        raise Problem("malformed-multipart", "the Content-Type says multipart/form-data but names no boundary")
    return boundary


def _parameters(header: bytes) -> dict[bytes, bytes]:
    """The parameters of a Content-Type or Content-Disposition. Raises Problem if there are too many."""
    if header.count(b";") > MAX_PARAMETERS:
        raise Problem("malformed-multipart", f"a header has more than {MAX_PARAMETERS} parameters")
    return parse_options_header(header)[1]


async def parse_off_loop(body: bytes, boundary: bytes, max_parts: int = MAX_PARTS) -> list[Part]:
    """As `parse`, but by `split` if possible, and otherwise in a thread if the body would block the event loop."""
    if (parts := split(body, boundary, max_parts)) is not None:
        return parts
    if len(body) <= _INLINE_BYTES:
        return parse(body, boundary, max_parts)
    return await asyncio.to_thread(parse, body, boundary, max_parts)


def split(body: bytes, boundary: bytes, max_parts: int = MAX_PARTS) -> list[Part] | None:
    """The parts of a body in the form that nearly every client writes; None for any other form.

    `parse` finds the same parts, many times more slowly.
    """
    delimiter = b"--" + boundary
    pieces = body.split(b"\r\n" + delimiter, max_parts + 1)
    if not pieces[0].startswith(delimiter) or len(pieces) > max_parts + 1 or pieces.pop() not in (b"--\r\n", b"--"):
        return None
    parts = []
    for i, piece in enumerate(pieces):
        head = _COMMON_HEAD.match(piece, 0 if i else len(delimiter))
        if head is None:
            return None
        parts.append(Part(head[1].decode(), data=piece[head.end() :]))
    return parts


def parse(body: bytes, boundary: bytes, max_parts: int = MAX_PARTS) -> list[Part]:
    """The parts of a complete multipart body, in order. Raises Problem, or TooManyParts, which is one."""
    collector = _PartCollector(max_parts)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.begin_part,
                "on_header_field": collector.header_name,
                "on_header_value": collector.header_value,
                "on_header_end": collector.end_header,
                "on_part_data": collector.part_data,
                "on_end": collector.end,
            },
        )
        parser.write(_without_preamble(body, boundary))
        parser.finalize()
    except FormParserError as error:
        raise Problem("malformed-multipart", f"the multipart body cannot be parsed: {error}") from error
    if not collector.ended:
        raise Problem("malformed-multipart", "the multipart body ends before its closing boundary")
    return collector.parts


def _without_preamble(body: bytes, boundary: bytes) -> bytes:
    """RFC 2046 allows any text before the first boundary; python-multipart does not."""
    delimiter = re.search(rb"(?:\A|\r\n)(?=--" + re.escape(boundary) + rb"[ \t]*\r\n)", body)
    return body[delimiter.end() :] if delimiter else body


class _PartCollector:
    """Builds parts from the callbacks of python-multipart."""

    def __init__(self, max_parts: int) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._max_parts = max_parts
        self._name = self._value = b""

    def begin_part(self) -> None:
        if len(self.parts) == self._max_parts:
            raise TooManyParts(self._max_parts)
        self.parts.append(Part())

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self.parts[-1].name = _parameters(self._value).get(b"name", b"").decode("utf-8", "replace")
        self._name = self._value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]

    def end(self) -> None:
        self.ended = True


def part_names(parts: Sequence[Part]) -> str:
    """The names of the first ten parts, for an error message."""
    names = [repr(part.name[:50]) if part.name else "a part without a name" for part in parts[:10]]
    return (", ".join(names) or "no field at all") + (f" and {len(parts) - 10} more" if len(parts) > 10 else "")
