"""GET / and GET /docs: the page to draw on, and the OpenAPI viewer, which works without any other host."""

import hashlib
import os
from functools import cache
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
INDEX = "index.html"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the style sheet of /docs draws its arrows so
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a browser asks whether a file has changed, as an upgrade changes it
}


class PageFiles(StaticFiles):
    """The files of one folder that have a type in TYPES, with our headers."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        path = Path(full_path)
        if path.suffix not in TYPES:
            raise HTTPException(404)
        headers = {**HEADERS, "ETag": _etag(path, stat_result.st_mtime_ns)}
        if self.is_not_modified(Headers(headers), Headers(scope=scope)):
            return Response(status_code=304, headers=headers)
        return FileResponse(path, status_code, headers, TYPES[path.suffix], stat_result=stat_result)


@cache
def _etag(path: Path, _modified: int) -> str:
    """By the content: two builds may give a file the same size and time, from which Starlette makes its ETag."""
    return f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'


def install(app: FastAPI) -> None:
    _install(app, "page", index="/")
    _install(app, "docs", index="/docs")


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
