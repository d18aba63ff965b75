"""GET / and GET /docs: the drawing page, and the OpenAPI viewer, which loads nothing from other hosts."""

import hashlib
import os
from functools import cache
from pathlib import Path

from fastapi import FastAPI, Request, Response
from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the arrows of /docs
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Accept-Ranges": "none",
    "Cache-Control": "no-cache",  # a browser must ask whether an upgrade has changed the file
}


class PageFiles(StaticFiles):
    """Serves the files of one folder whose suffix is in TYPES, with HEADERS."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        path = Path(full_path)
        if path.suffix not in TYPES:
            raise HTTPException(404)
        headers = {**HEADERS, "ETag": _etag(path, stat_result.st_mtime_ns)}
        if self.is_not_modified(Headers(headers), Headers(scope=scope)):
            return Response(status_code=304, headers=headers)
        return _WholeFile(path, status_code, headers, TYPES[path.suffix], stat_result=stat_result)


class _WholeFile(FileResponse):
    """Ignores Range, as HTTP allows: Starlette answers a bad one in plain text, and no file here is large."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


@cache
def _etag(path: Path, _modified: int) -> str:
    """From the content. Starlette's is made of size and time, which two builds of a file may share."""
    return f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'


def install(app: FastAPI, root_path: str) -> None:
    _install(app, "page", index="/")
    _install(app, "docs", index="/docs")

    @cache
    def document() -> bytes:
        servers = {"servers": [{"url": root_path}]} if root_path else {}
        return to_json({**app.openapi(), **servers})

    # FastAPI's own route encodes the document for every request, which blocks the event loop for 16 ms.
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(document(), media_type="application/json")


def _install(app: FastAPI, folder: str, index: str) -> None:
    """Serves the folder's INDEX at the path `index`, and its other files below /FOLDER."""
    files = PageFiles(directory=STATIC / folder)

    @app.get(index, include_in_schema=False)
    async def page(request: Request) -> Response:
        return await files.get_response(INDEX, request.scope)

    @app.get(f"/{folder}/{{name}}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        if name == INDEX:  # its links are relative to the path `index`
            raise HTTPException(404)
        return await files.get_response(name, request.scope)
