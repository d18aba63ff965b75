"""GET /: the page to draw on."""

import io
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from PIL import Image

from app.api.dependencies import InferenceDependency
from app.http import body
from app.web import static_files

FOLDER = Path(__file__).parent / "static" / "page"

router = APIRouter(include_in_schema=False)


@router.post("/page/tile")
async def tile(request: Request, inference: InferenceDependency) -> Response:
    """What the network sees of a picture: the body as for /predict, the answer a PNG of 28 x 28 grey levels.

    For the page alone, beside the interface that others rely on: /predict keeps its small answer.
    """
    data = await body.read_image(request.scope, request.receive, inference.settings.max_upload_bytes)
    found = await inference.normalise(data)
    png = io.BytesIO()
    Image.fromarray(found.pixels).save(png, "PNG")
    return Response(png.getvalue(), media_type="image/png")


def install(app: FastAPI) -> None:
    app.include_router(router)
    static_files.install(app, FOLDER, "/")
