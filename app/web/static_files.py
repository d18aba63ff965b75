"""Our own pages: static files and what a browser may do with them."""

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request, Response

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
    "Cache-Control": "no-cache",  # asks whether it changed, which an upgrade does
}


def install(app: FastAPI, folder: Path, index: str) -> None:
    """Serves the folder's `index.html` at the path `index`, and its other files below /NAME, the folder's name.

    Only files of the known types that are there now: a request never reaches the file system.
    """
    for path in folder.iterdir():
        if path.suffix in TYPES:
            _install(app, index if path.name == "index.html" else f"/{folder.name}/{path.name}", path)


def _install(app: FastAPI, url: str, path: Path) -> None:
    content = path.read_bytes()
    headers = {**HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"'}

    @app.get(url, include_in_schema=False)
    async def file(request: Request) -> Response:
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=TYPES[path.suffix])
