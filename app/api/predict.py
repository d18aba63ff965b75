"""POST /predict and POST /predict/batch. Most requests to /predict never get here: see app/http/fast_predict.py."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from app.api.dependencies import InferenceDependency
from app.http import body
from app.http.lifecycle import cancel_on_disconnect
from app.http.problems import Problem
from app.http.schemas import BINARY, BatchBody, PredictionBody, multipart_body, prediction_json, prediction_members
from models.errors import InklingError
from models.inference.batcher import InferenceResult

router = APIRouter(tags=["predict"])

_EMPTY = Problem("empty-body", "this part of the batch is empty")

_FORMATS = "PNG, JPEG, BMP, GIF, WebP or TIFF"
_ONE_IMAGE = multipart_body(
    f"One image of one digit: {_FORMATS}.",
    {"file": BINARY},
    **{"image/*": BINARY, "application/octet-stream": BINARY},
)
_MANY_IMAGES = multipart_body(f"Images of one digit each: {_FORMATS}.", {"files": {"type": "array", "items": BINARY}})


@router.post("/predict", summary="Read the digit in an image", response_model=PredictionBody, openapi_extra=_ONE_IMAGE)
async def predict(request: Request, inference: InferenceDependency) -> Response:
    """One image, as the multipart field `file` or as the raw body."""
    cancel_on_disconnect(request.scope)
    data = await body.read_image(request.scope, request.receive, inference.settings.max_upload_bytes)
    return Response(prediction_json(await inference.submit(data)), media_type="application/json")


@router.post(
    "/predict/batch", summary="Read the digits in many images", response_model=BatchBody, openapi_extra=_MANY_IMAGES
)
async def predict_batch(request: Request, inference: InferenceDependency) -> Response:
    """Many images, as multipart fields `files`: each has its prediction or its error, in order."""
    cancel_on_disconnect(request.scope)
    settings = inference.settings
    limit = min(settings.max_client_batch, settings.max_concurrent_images)
    images = await body.read_images(request.scope, request.receive, settings.max_upload_bytes, limit)
    results = iter(await inference.predict_batch([data for data in images if data]))
    members: list[dict[str, Any]] = []
    for data in images:
        result = next(results) if data else _EMPTY
        if isinstance(result, InferenceResult):
            members.append(prediction_members(result))
        else:
            problem = Problem.of(result) if isinstance(result, InklingError) else result
            inference.metrics.refusal(problem.name)
            members.append({"error": problem.content()})
    return Response(to_json({"results": members}), media_type="application/json")
