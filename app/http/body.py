"""Reads a request's body within its limits, and finds the images in it."""

import asyncio
from collections.abc import Sequence

from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from app.http import multipart
from app.http.body_budget import BodyBudget
from app.http.content_encoding import decode, find_encoding
from app.http.multipart import MAX_PARTS, Part, TooManyParts
from app.http.problems import Problem

BODY_SECONDS = 10
IMAGE_FIELDS = ("file", "image")
BATCH_FIELD = "files"
_RAW_TYPES = (b"image/", b"application/octet-stream")

_CURL = "curl -F file=@digit.png URL, or curl --data-binary @digit.png -H 'Content-Type: image/png' URL"
_BATCH_CURL = "curl -F files=@one.png -F files=@two.png URL"


async def read_image(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The one image of a request: the field `file` or `image` of a multipart body, or the whole of any other body.

    The image's own first bytes say what it is; the Content-Type of a raw body does not matter. Raises Problem.
    """
    found = await _read_parts(scope, receive, max_bytes, _CURL)
    return found if isinstance(found, bytes) else _only_image(found)


def find_simple_image(content_type: bytes, body: bytes) -> bytes | None:
    """The image that `read_image` finds in a body as nearly every client writes it; None for any other form."""
    if not content_type or content_type.startswith(_RAW_TYPES):
        return body or None
    boundary = multipart.common_boundary(content_type)
    parts = multipart.split(body, boundary, 1) if boundary else None
    return bytes(parts[0].data) or None if parts and parts[0].name in IMAGE_FIELDS else None


async def read_image_and_field(scope: Scope, receive: Receive, max_bytes: int, name: str) -> tuple[bytes, str]:
    """The image of a multipart body, and the text of its field of that name. Raises Problem."""
    curl = f"curl -F file=@digit.png -F {name}=7 URL"
    parts = await _read_parts(scope, receive, max_bytes, curl)
    if isinstance(parts, bytes):
        detail = f"expected multipart/form-data with the fields 'file' and '{name}': {curl}"
        raise Problem("wrong-field", detail, field=name)
    image = _only_image([part for part in parts if part.name != name])
    values = [bytes(part.data).decode("utf-8", "replace").strip() for part in parts if part.name == name]
    if len(values) != 1:
        raise Problem("wrong-field", f"expected one field named '{name}', got {len(values)}", field=name)
    return image, values[0]


async def read_images(scope: Scope, receive: Receive, max_bytes: int, max_images: int) -> list[bytes]:
    """The images of a request, in order: the fields `files` of a multipart body. One may be empty. Raises Problem."""
    max_parts = max_images + MAX_PARTS
    try:
        parts = await _read_parts(scope, receive, max_bytes, _BATCH_CURL, max_parts)
    except TooManyParts:
        raise _too_many_images(max_images, f"more than {max_parts} parts") from None
    if isinstance(parts, bytes):
        detail = f"expected multipart/form-data with fields named 'files': {_BATCH_CURL}"
        raise Problem("wrong-field", detail, field=BATCH_FIELD)
    images = [bytes(part.data) for part in parts if part.name == BATCH_FIELD]
    if not images:
        detail = f"expected fields named 'files', got {multipart.part_names(parts)}"
        raise Problem("wrong-field", detail, field=BATCH_FIELD)
    if len(images) > max_images:
        raise _too_many_images(max_images, f"{len(images)} images")
    return images


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """The whole body, counted as it arrives, without its Content-Encoding.

    Raises Problem when it is too large, too slow, or more than the worker holds, and ClientDisconnect.
    """
    declared = header(scope, b"content-length")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(int(declared), max_bytes)
    encoding = find_encoding(header(scope, b"content-encoding"))
    budget: BodyBudget = scope["app"].body_budget
    budget.check(int(declared or 0), int(declared or 0))
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
                if size > max_bytes:
                    raise _too_large(size, max_bytes)
                budget.take(scope, len(chunk))
                chunks.append(chunk)
                if not message.get("more_body"):
                    break
    except TimeoutError:
        detail = f"{size:,} bytes had arrived after {BODY_SECONDS} s, and the body was not complete"
        raise Problem("body-timeout", detail, {"Connection": "close"}) from None
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    return body if encoding is None else await _decoded(scope, body, encoding, max_bytes)


async def _decoded(scope: Scope, body: bytes, encoding: str, max_bytes: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in decode(body, encoding):
        size += len(piece)
        if size > max_bytes:
            raise _too_large(size, max_bytes)
        scope["app"].body_budget.take(scope, len(piece))
        pieces.append(piece)
    return b"".join(pieces)


def header(scope: Scope, name: bytes) -> bytes:
    """The value of the first header with this lower-case name; empty if there is none."""
    for found, value in scope["headers"]:
        if found == name:
            return bytes(value)
    return b""


async def _read_parts(
    scope: Scope, receive: Receive, max_bytes: int, curl: str, max_parts: int = MAX_PARTS
) -> list[Part] | bytes:
    """The parts of a multipart body, or a body of another type as it is.

    curl: the command that the message recommends. Raises Problem, also for an empty body or a urlencoded form.
    """
    content_type = header(scope, b"content-type")
    if content_type.startswith(b"application/x-www-form-urlencoded"):
        raise Problem("urlencoded-form", f"a urlencoded form (curl's -d) cannot carry an image; use {curl}")
    body = await read_body(scope, receive, max_bytes)
    if not body:
        raise Problem("empty-body", f"the body is empty; send an image: {curl}")
    boundary = multipart.find_boundary(content_type)
    return body if boundary is None else await multipart.parse_off_loop(body, boundary, max_parts)


def _only_image(parts: Sequence[Part]) -> bytes:
    images = [part for part in parts if part.name in IMAGE_FIELDS]
    if len(images) != 1:
        detail = f"expected one field named 'file' (or 'image'), got {multipart.part_names(parts)}"
        raise Problem("wrong-field", detail, field="file")
    if not images[0].data:
        raise Problem("empty-body", f"the field {images[0].name!r} is empty; send an image: {_CURL}")
    return bytes(images[0].data)


def _too_many_images(limit: int, found: str) -> Problem:
    settings = "the lesser of INKLING_MAX_CLIENT_BATCH and INKLING_MAX_CONCURRENT_IMAGES"
    detail = f"the batch has {found}; the limit is {limit}, {settings}"
    return Problem("too-many-images", detail, limit=limit)


def _too_large(size: int, max_bytes: int) -> Problem:
    detail = f"the body has {size:,} bytes or more; the limit is INKLING_MAX_UPLOAD_BYTES={max_bytes:,}"
    return Problem("body-too-large", detail, {"Connection": "close"}, limit=max_bytes)
