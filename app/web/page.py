"""A route for the drawing page alone; it is not part of the documented interface."""

import io

from fastapi import APIRouter, Request, Response
from PIL import Image

from app.http import body
from app.inference import Inference

router = APIRouter(include_in_schema=False)


@router.post("/page/tile")
async def tile(request: Request) -> Response:
    """The normalised tile of an image as a PNG of 28 x 28 grey levels. The body is as for /predict."""
    inference: Inference = request.app.state.inference
    data = await body.read_image(request.scope, request.receive, inference.settings.max_upload_bytes)
    found = await inference.normalise(data)
    png = io.BytesIO()
    Image.fromarray(found.pixels).save(png, "PNG")
    return Response(png.getvalue(), media_type="image/png")


@router.get("/page/key")
async def key(request: Request) -> dict[str, bool]:
    """Whether the service has a key: without one, the page need not ask for it."""
    return {"configured": bool(request.app.state.keys)}
