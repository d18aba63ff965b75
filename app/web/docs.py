"""GET /docs: the OpenAPI viewer, from our own files, so that it works without any other host."""

from pathlib import Path

from fastapi import FastAPI

from app.web import static_files

FOLDER = Path(__file__).parent / "static" / "docs"


def install(app: FastAPI) -> None:
    static_files.install(app, FOLDER, "/docs")
