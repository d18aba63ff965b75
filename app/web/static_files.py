"""GET / and GET /docs: the drawing page, and the OpenAPI viewer, which loads nothing from other hosts."""

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
        return FileResponse(path, status_code, headers, TYPES[path.suffix], stat_result=stat_result)


@cache
def _etag(path: Path, _modified: int) -> str:
    """From the content. Starlette's is made of size and time, which two builds of a file may share."""
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
