"""The feedback routes: add an image with its label, count, delete."""

import re
from dataclasses import asdict
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.auth import NEEDS_KEY
from app.api.dependencies import FeedbackDependency, InferenceDependency, ThreadsDependency
from app.http import body
from app.http.problems import Problem
from app.http.schemas import BINARY, multipart_body
from app.storage.feedback import FeedbackCounts

router = APIRouter(prefix="/feedback", tags=["feedback"], dependencies=NEEDS_KEY)


class FeedbackBody(BaseModel):
    """An image and its label, as they were stored."""

    id: str = Field(description="sha256 of the tile, the image as the network sees it. The same tile has the same id.")
    label: int = Field(ge=0, le=9)
    prediction: int = Field(ge=0, le=9, description="The digit that the service predicted.")
    model: str = Field(description="The version that predicted.")
    created_at: datetime
    replaced: bool = Field(description="Whether this label replaced another label.")


_BODY = multipart_body(
    "An image, and the digit that it shows.",
    {"file": BINARY, "label": {"type": "integer", "minimum": 0, "maximum": 9}},
)


@router.post("", summary="Say what digit an image shows", status_code=201, openapi_extra=_BODY)
async def add(
    request: Request,
    response: Response,
    inference: InferenceDependency,
    store: FeedbackDependency,
    threads: ThreadsDependency,
) -> FeedbackBody:
    """An image as the multipart field `file` and its digit as the field `label`; 200 if its tile was stored before."""
    threads.writes.check()
    data, label = await body.read_image_and_field(
        request.scope, request.receive, inference.settings.max_upload_bytes, "label"
    )
    if not re.fullmatch("[0-9]", label):
        raise Problem("bad-parameter", f"label: expected a digit from 0 to 9, got {label[:20]!r}", field="label")
    tile, prediction = await inference.submit(data)
    stored, former = await threads.writes.run(store.add, tile.pixels, int(label), prediction)
    response.status_code = 201 if former is None else 200
    return FeedbackBody(**asdict(stored), replaced=former is not None and former.label != stored.label)


@router.get("", summary="Count the feedback by label and by day")
async def counts(store: FeedbackDependency, threads: ThreadsDependency) -> FeedbackCounts:
    return await threads.reads.run(store.counts)


@router.delete("/{id}", summary="Delete an image from the feedback", status_code=204)
async def delete(
    id: str,  # noqa: A002 the path parameter's name
    store: FeedbackDependency,
    threads: ThreadsDependency,
) -> None:
    if not await threads.writes.run(store.delete, id):
        raise Problem("not-found", f"there is no feedback {id[:64]!r}")
