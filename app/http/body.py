"""From a request to the bytes of its pictures: limits first, then multipart or the raw body."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.http.problems import Problem

BODY_SECONDS = 10
FIELDS = ("file", "image")
BATCH_FIELDS = ("files",)
MAX_PARTS = 100
_DISCARD_SECONDS = 5
_LONG = 65_536

_CURL = "curl -F file=@digit.png URL, or curl --data-binary @digit.png -H 'Content-Type: image/png' URL"
_BATCH_CURL = "curl -F files=@one.png -F files=@two.png URL"

# What nearly every client writes, letter for letter. Whatever else a body may be, the full parser reads.
_RAW_TYPES = (b"image/", b"application/octet-stream")
_COMMON_TYPE = re.compile(rb"multipart/form-data; ?boundary=([\w'()+,./:=?-]{1,70})")
_COMMON_HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="([\w.-]+)"(?:; filename="[^"\\\r\n]*")?\r\n'
    rb"(?:Content-Type: [\w.+/;= -]+\r\n)?\r\n"
)


@dataclass
class Part:
    """One part of a multipart body."""

    name: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes | bytearray = field(default_factory=bytearray)


class TooManyParts(Problem):
    def __init__(self, limit: int) -> None:
        super().__init__("malformed-multipart", f"the multipart body has more than {limit} parts")


async def picture(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The one picture of a request: the field `file` or `image` of a multipart body, or else the body itself.

    A raw body is taken for a picture whatever its content type says; what it is, its first bytes tell.
    Raises Problem.
    """
    content_type = header(scope, b"content-type")
    body = await read_body(scope, receive, max_bytes, content_type)
    boundary = _boundary(content_type)
    if boundary is None:
        return body
    return _only_picture(await _parts(body, boundary, MAX_PARTS))


def plain_picture(content_type: bytes, body: bytes) -> bytes | None:
    """What `picture` finds in a body that is plainly as most are, without waiting for anything; None for any other."""
    if not content_type or content_type.startswith(_RAW_TYPES):
        return body or None
    common = _COMMON_TYPE.fullmatch(content_type)
    parts = split_multipart(body, common[1], 1) if common else None
    return bytes(parts[0].data) or None if parts and parts[0].name in FIELDS else None


async def picture_and_field(scope: Scope, receive: Receive, max_bytes: int, name: str) -> tuple[bytes, str]:
    """The picture of a multipart body, and the text of its field of that name. Raises Problem."""
    curl = f"curl -F file=@digit.png -F {name}=7 URL"
    content_type = header(scope, b"content-type")
    body = await read_body(scope, receive, max_bytes, content_type, curl)
    boundary = _boundary(content_type)
    if boundary is None:
        detail = f"expected multipart/form-data with the fields 'file' and '{name}': {curl}"
        raise Problem("wrong-field", detail, field=name)
    parts = await _parts(body, boundary, MAX_PARTS)
    data = _only_picture([part for part in parts if part.name != name])
    values = [bytes(part.data).decode("utf-8", "replace").strip() for part in parts if part.name == name]
    if len(values) != 1:
        raise Problem("wrong-field", f"expected one field named '{name}', got {len(values)}", field=name)
    return data, values[0]


async def pictures(scope: Scope, receive: Receive, max_bytes: int, max_images: int) -> list[bytes]:
    """The pictures of a request, in order: the fields `files` of a multipart body; one may be empty. Raises Problem."""
    content_type = header(scope, b"content-type")
    body = await read_body(scope, receive, max_bytes, content_type, _BATCH_CURL)
    boundary = _boundary(content_type)
    if boundary is None:
        raise Problem(
            "wrong-field", f"expected multipart/form-data with fields named 'files': {_BATCH_CURL}", field="files"
        )
    try:
        parts = await _parts(body, boundary, max_images + MAX_PARTS)
    except TooManyParts:
        raise _too_many(max_images, f"more than {max_images + MAX_PARTS} parts") from None
    found = [bytes(part.data) for part in parts if part.name in BATCH_FIELDS]
    if not found:
        raise Problem("wrong-field", f"expected fields named 'files', got {_names(parts)}", field="files")
    if len(found) > max_images:
        raise _too_many(max_images, f"{len(found)} pictures")
    return found


async def read_body(
    scope: Scope, receive: Receive, max_bytes: int, content_type: bytes = b"", curl: str = _CURL
) -> bytes:
    """The whole body. Raises Problem when it is too large, too slow or empty, or a form."""
    if content_type.startswith(b"application/x-www-form-urlencoded"):
        await _discard(receive)
        raise Problem("urlencoded-form", f"a urlencoded form (curl's -d) can not carry a picture; use {curl}")
    body = await receive_body(scope, receive, max_bytes)
    if not body:
        raise Problem("empty-body", f"the body is empty; send a picture: {curl}")
    return body


async def receive_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body, counted as it arrives. Raises Problem when it is too large or too slow."""
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > max_bytes:
        await _discard(receive)
        raise _too_large(int(declared), max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                size += len(chunk)
                chunks.append(chunk)
                if size > max_bytes or not message.get("more_body"):
                    break
    except TimeoutError:
        detail = f"{size:,} bytes had arrived after {BODY_SECONDS} s, and the body was not complete"
        raise Problem("body-timeout", detail, {"Connection": "close"}) from None
    if size > max_bytes:
        if message.get("more_body"):
            await _discard(receive)
        raise _too_large(size, max_bytes)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that name, in lower case; empty where there is none."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return b""


def _boundary(content_type: bytes) -> bytes | None:
    """The boundary of a multipart body; None for a body of another type. Raises Problem where it names none."""
    if common := _COMMON_TYPE.fullmatch(content_type):
        return common[1]
    media_type, options = parse_options_header(content_type)
    if media_type != b"multipart/form-data":
        return None
    if not (boundary := options.get(b"boundary")):
        raise Problem("malformed-multipart", "the Content-Type says multipart/form-data but names no boundary")
    return boundary


async def _parts(body: bytes, boundary: bytes, max_parts: int) -> list[Part]:
    if (parts := split_multipart(body, boundary, max_parts)) is not None:
        return parts
    if len(body) <= _LONG:
        return parse_multipart(body, boundary, max_parts)
    return await asyncio.to_thread(parse_multipart, body, boundary, max_parts)


def split_multipart(body: bytes, boundary: bytes, max_parts: int = MAX_PARTS) -> list[Part] | None:
    """What `parse_multipart` gives, without the headers, for a body that is plainly as most are; None for any other."""
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


def parse_multipart(body: bytes, boundary: bytes, max_parts: int = MAX_PARTS) -> list[Part]:
    """The parts of a complete multipart body, in order. Raises Problem, TooManyParts among them."""
    parts: list[Part] = []
    header = [b"", b""]
    ended = False

    def begin() -> None:
        if len(parts) == max_parts:
            raise TooManyParts(max_parts)
        parts.append(Part())

    def header_field(data: bytes, start: int, end: int) -> None:
        header[0] += data[start:end]

    def header_value(data: bytes, start: int, end: int) -> None:
        header[1] += data[start:end]

    def header_end() -> None:
        parts[-1].headers[header[0].decode("latin-1").lower()] = header[1].decode("latin-1")
        header[:] = [b"", b""]

    def headers_finished() -> None:
        _, options = parse_options_header(parts[-1].headers.get("content-disposition"))
        parts[-1].name = options.get(b"name", b"").decode("utf-8", "replace")

    def part_data(data: bytes, start: int, end: int) -> None:
        parts[-1].data += data[start:end]

    def finished() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_header_field": header_field,
                "on_header_value": header_value,
                "on_header_end": header_end,
                "on_headers_finished": headers_finished,
                "on_part_data": part_data,
                "on_end": finished,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Problem("malformed-multipart", f"the multipart body can not be parsed: {error}") from error
    if not ended:
        raise Problem("malformed-multipart", "the multipart body ends before its closing boundary")
    return parts


def _only_picture(parts: Sequence[Part]) -> bytes:
    found = [part for part in parts if part.name in FIELDS]
    if len(found) != 1:
        detail = f"expected one field named 'file' (or 'image'), got {_names(parts)}"
        raise Problem("wrong-field", detail, field="file")
    if not found[0].data:
        raise Problem("empty-body", f"the field {found[0].name!r} is empty; send a picture: {_CURL}")
    return bytes(found[0].data)


def _names(parts: Sequence[Part]) -> str:
    names = [repr(part.name[:50]) if part.name else "a part without a name" for part in parts[:10]]
    return (", ".join(names) or "no field at all") + (f" and {len(parts) - 10} more" if len(parts) > 10 else "")


def _too_many(limit: int, found: str) -> Problem:
    settings = "the lesser of INKLING_MAX_CLIENT_BATCH and INKLING_MAX_CONCURRENT_IMAGES"
    detail = f"the batch has {found}; the limit is {limit}, {settings}"
    return Problem("too-many-images", detail, limit=limit)


def _too_large(size: int, max_bytes: int) -> Problem:
    detail = f"the body has {size:,} bytes or more; the limit is INKLING_MAX_UPLOAD_BYTES={max_bytes:,}"
    return Problem("body-too-large", detail, {"Connection": "close"}, limit=max_bytes)


async def _discard(receive: Receive) -> None:
    """Lets the client finish sending, within bounds: one that is cut off while it writes never reads the answer."""
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
