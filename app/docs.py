"""GET /docs: the OpenAPI viewer, from our own files, so that it works without any other host."""

from pathlib import Path

from fastapi import FastAPI, Response

FOLDER = Path(__file__).parent / "static" / "docs"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}


def install(app: FastAPI) -> None:
    for path in FOLDER.iterdir():
        if path.suffix in TYPES:
            _install(app, "/docs" if path.name == "index.html" else f"/docs/{path.name}", path)


def _install(app: FastAPI, url: str, path: Path) -> None:
    @app.get(url, include_in_schema=False)
    async def file() -> Response:
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])
