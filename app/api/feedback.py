"""POST /feedback and what has come of it."""

import asyncio
import re
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from app.api.auth import NEEDS_KEY
from app.api.dependencies import FeedbackDependency, InferenceDependency
from app.http import body
from app.http.problems import Problem

router = APIRouter(prefix="/feedback", tags=["feedback"], dependencies=NEEDS_KEY)


class FeedbackBody(BaseModel):
    """One correction as it is stored."""

    id: str = Field(description="sha256 of the picture as the network sees it: the same digit again is the same one.")
    label: int = Field(ge=0, le=9)
    prediction: int = Field(ge=0, le=9, description="What the service read.")
    model: str = Field(description="The version that read it.")
    created_at: datetime
    replaced: bool = Field(description="Whether this label replaced another one.")


class FeedbackCountsBody(BaseModel):
    total: int
    by_label: dict[str, int]
    by_day: dict[str, int]


_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "label"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "label": {"type": "integer", "minimum": 0, "maximum": 9},
                    },
                }
            }
        },
    }
}


@router.post("", summary="Say what digit a picture shows", status_code=201, openapi_extra=_BODY)
async def add(
    request: Request, response: Response, inference: InferenceDependency, store: FeedbackDependency
) -> FeedbackBody:
    """A picture as the multipart field `file` and its digit as the field `label`; 200 where it was known already."""
    data, label = await body.read_image_and_field(
        request.scope, request.receive, inference.settings.max_upload_bytes, "label"
    )
    if not re.fullmatch("[0-9]", label):
        raise Problem("bad-parameter", f"label: expected a digit from 0 to 9, got {label[:20]!r}", field="label")
    tile, prediction = await inference.submit(data)
    stored, before = await asyncio.to_thread(store.add, tile.pixels, int(label), prediction)
    response.status_code = 200 if before else 201
    return FeedbackBody(
        id=stored.id,
        label=stored.label,
        prediction=stored.prediction,
        model=stored.model,
        created_at=stored.created_at,
        replaced=before is not None and before.label != stored.label,
    )


@router.get("", summary="How many corrections there are, by label and by day")
def counts(store: FeedbackDependency) -> FeedbackCountsBody:
    found = store.counts()
    return FeedbackCountsBody(total=found.total, by_label=found.by_label, by_day=found.by_day)


@router.delete("/{id}", summary="Delete a correction and its picture", status_code=204)
def delete(id: str, store: FeedbackDependency) -> None:  # noqa: A002 the path's own name
    if not store.delete(id):
        raise Problem("not-found", f"there is no correction {id[:64]!r}")
