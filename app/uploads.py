"""From a request to the bytes of one picture: limits first, then multipart or the raw body."""

import asyncio
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.problems import Problem

BODY_SECONDS = 10
FIELDS = ("file", "image")
MAX_PARTS = 100
_DISCARD_SECONDS = 5

_CURL = "curl -F file=@digit.png URL, or curl --data-binary @digit.png -H 'Content-Type: image/png' URL"


@dataclass
class Part:
    """One part of a multipart body."""

    name: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)


async def picture(request: Request, max_bytes: int) -> bytes:
    """The one picture of a request: the field `file` or `image` of a multipart body, or else the body itself.

    A raw body is taken for a picture whatever its content type says; what it is, its first bytes tell.
    Raises Problem.
    """
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type == b"application/x-www-form-urlencoded":
        await _discard(request)
        raise Problem("urlencoded-form", f"a urlencoded form (curl's -d) can not carry a picture; use {_CURL}")
    body = await read_body(request, max_bytes)
    if not body:
        raise Problem("empty-body", f"the body is empty; send a picture: {_CURL}")
    if media_type != b"multipart/form-data":
        return body
    return _only_picture(await asyncio.to_thread(parse_multipart, body, options.get(b"boundary")))


async def picture_and_field(request: Request, max_bytes: int, name: str) -> tuple[bytes, str]:
    """The picture of a multipart body and the text of its field of that name. Raises Problem."""
    media_type, options = parse_options_header(request.headers.get("content-type"))
    if media_type != b"multipart/form-data":
        raise Problem(
            "wrong-field",
            f"expected a multipart body with the fields 'file' and '{name}': curl -F file=@digit.png -F {name}=7 URL",
            field=name,
        )
    body = await read_body(request, max_bytes)
    parts = await asyncio.to_thread(parse_multipart, body, options.get(b"boundary"))
    data = _only_picture([part for part in parts if part.name != name])
    values = [bytes(part.data).decode("utf-8", "replace").strip() for part in parts if part.name == name]
    if len(values) != 1:
        raise Problem("wrong-field", f"expected one field named '{name}', got {len(values)}", field=name)
    return data, values[0]


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body, counted as it arrives. Raises Problem when it is too large or too slow."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        await _discard(request)
        raise _too_large(int(declared), max_bytes)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    break
    except TimeoutError:
        detail = f"{len(body):,} bytes had arrived after {BODY_SECONDS} s, and the body was not complete"
        raise Problem("body-timeout", detail, {"Connection": "close"}) from None
    if len(body) > max_bytes:
        await _discard(request)
        raise _too_large(len(body), max_bytes)
    return bytes(body)


def parse_multipart(body: bytes, boundary: bytes | None) -> list[Part]:
    """The parts of a complete multipart body, in order. Raises Problem."""
    if not boundary:
        raise Problem("malformed-multipart", "the Content-Type says multipart/form-data but names no boundary")
    parts: list[Part] = []
    header = [b"", b""]
    ended = False

    def begin() -> None:
        if len(parts) == MAX_PARTS:
            raise Problem("malformed-multipart", f"the multipart body has more than {MAX_PARTS} parts")
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


def _only_picture(parts: list[Part]) -> bytes:
    pictures = [part for part in parts if part.name in FIELDS]
    if len(pictures) != 1:
        names = [repr(part.name[:50]) if part.name else "a part without a name" for part in parts[:10]]
        found = ", ".join(names) + (f" and {len(parts) - 10} more" if len(parts) > 10 else "")
        detail = f"expected one field named 'file' (or 'image'), got {found or 'no field at all'}"
        raise Problem("wrong-field", detail, field="file")
    if not pictures[0].data:
        raise Problem("empty-body", f"the field {pictures[0].name!r} is empty; send a picture: {_CURL}")
    return bytes(pictures[0].data)


def _too_large(size: int, max_bytes: int) -> Problem:
    detail = f"the body has {size:,} bytes or more; the limit is INKLING_MAX_UPLOAD_BYTES={max_bytes:,}"
    return Problem("body-too-large", detail, {"Connection": "close"}, limit=max_bytes)


async def _discard(request: Request) -> None:
    """Lets the client finish sending, within bounds: one that is cut off while it writes never reads the answer."""
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while (await request.receive()).get("more_body"):
                pass
    except TimeoutError:
        pass
