"""POST /predict and POST /predict/batch.

They are answered before FastAPI's middleware and router, which take longer than a prediction does. FastAPI knows them
too: for the OpenAPI document, and for what comes to it on other ways.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.api.dependencies import InferenceDependency
from app.http import body
from app.http.problems import Problem, respond
from app.http.schemas import BatchBody, PredictionBody, prediction_json, prediction_members
from app.inference import Inference
from app.observability import logs
from models.errors import InklingError
from models.inference.batcher import InferenceResult

router = APIRouter(tags=["predict"])
log = logging.getLogger(__name__)

_LEFT = "the client left"


class Lean:
    """The ASGI application of one call: `answer` takes a request to the JSON of its answer, or raises."""

    def __init__(
        self, path: str, inference: Inference, answer: Callable[[Inference, Scope, Receive], Awaitable[bytes]]
    ) -> None:
        self.path = path
        self.inference = inference
        self.answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self
        if (task := asyncio.current_task()) is not None:
            scope.setdefault("state", {})["on_disconnect"] = functools.partial(task.cancel, _LEFT)
        try:
            body = await self.answer(self.inference, scope, receive)
        except asyncio.CancelledError as error:
            if error.args != (_LEFT,):
                raise
        except (Problem, InklingError, ClientDisconnect) as error:
            await respond(Request(scope), error)(scope, receive, send)
        except Exception as error:
            logs.identify(scope)
            log.exception("the request failed")
            await respond(Request(scope), error)(scope, receive, send)
        else:
            headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})


async def predict(inference: Inference, scope: Scope, receive: Receive) -> bytes:
    """One picture, as the multipart field `file` or as the raw body."""
    data = await body.read_image(scope, receive, inference.settings.max_upload_bytes)
    return prediction_json(await inference.read(data))


async def predict_batch(inference: Inference, scope: Scope, receive: Receive) -> bytes:
    """Many pictures, as multipart fields `files`; each is answered or refused on its own."""
    settings = inference.settings
    limit = min(settings.max_client_batch, settings.max_concurrent_images)
    pictures = await body.read_images(scope, receive, settings.max_upload_bytes, limit)
    answers = iter(await inference.read_batch([data for data in pictures if data]))
    return to_json({"results": [_result(inference, next(answers) if data else _EMPTY) for data in pictures]})


_EMPTY = Problem("empty-body", "this part of the batch is empty")


def _result(inference: Inference, answer: InferenceResult | InklingError | Problem) -> dict[str, Any]:
    if isinstance(answer, InferenceResult):
        return prediction_members(answer)
    problem = Problem.of(answer) if isinstance(answer, InklingError) else answer
    inference.metrics.refusal(problem.name)
    return {"error": problem.content()}


_BINARY = {"type": "string", "format": "binary"}


def _body(description: str, properties: dict[str, Any], **others: Any) -> dict[str, Any]:
    form = {"schema": {"type": "object", "required": list(properties), "properties": properties}}
    content = {"multipart/form-data": form, **others}
    return {"requestBody": {"required": True, "description": description, "content": content}}


_FORMATS = "PNG, JPEG, BMP, GIF, WebP or TIFF"
_ONE = _body(
    f"One picture of one digit: {_FORMATS}.",
    {"file": _BINARY},
    **{"image/*": {"schema": _BINARY}, "application/octet-stream": {"schema": _BINARY}},
)
_MANY = _body(f"Pictures of one digit each: {_FORMATS}.", {"files": {"type": "array", "items": _BINARY}})


@router.post(
    "/predict", name="predict", summary="Read the digit in a picture", response_model=PredictionBody, openapi_extra=_ONE
)
async def _predict(request: Request, inference: InferenceDependency) -> Response:
    """One picture, as the multipart field `file` or as the raw body."""
    return Response(await predict(inference, request.scope, request.receive), media_type="application/json")


@router.post(
    "/predict/batch", summary="Read the digits in many pictures", response_model=BatchBody, openapi_extra=_MANY
)
async def _predict_batch(request: Request, inference: InferenceDependency) -> Response:
    """Many pictures, as multipart fields `files`: each has its prediction or its error, in order."""
    return Response(await predict_batch(inference, request.scope, request.receive), media_type="application/json")
