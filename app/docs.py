"""GET /docs: the OpenAPI viewer, from our own files, so that it works without any other host."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "static" / "docs"


def install(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(FOLDER / "index.html")

    app.mount("/docs", StaticFiles(directory=FOLDER), name="docs")
