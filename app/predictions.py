"""POST /predict."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from app import uploads
from app.service import Service
from models.calibration import Verdict
from models.normalisation import Step

router = APIRouter(tags=["predict"])


class PredictionBody(BaseModel):
    """What a picture was read as."""

    digit: int = Field(ge=0, le=9, description="The best guess, also when unsure.")
    confidence: float = Field(ge=0, le=1, description="Calibrated: of answers given with 0.9, nine in ten are right.")
    probabilities: list[float] = Field(min_length=10, max_length=10, description="Of the digits 0 to 9; they sum to 1.")
    verdict: Verdict = Field(description="`unsure` asks for a second look.")
    model: str = Field(description="The version that answered.")
    steps: list[Step] = Field(description="What normalisation did to the picture, in order.")


_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "One picture of one digit: PNG, JPEG, BMP, GIF, WebP or TIFF.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": _BINARY,
            "application/octet-stream": _BINARY,
        },
    }
}


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


@router.post("/predict", summary="Read the digit in a picture", openapi_extra=_BODY)
async def predict(request: Request, service: Annotated[Service, Depends(service_of)]) -> PredictionBody:
    """One picture, as the multipart field `file` or as the raw body."""
    data = await uploads.picture(request, service.settings.max_upload_bytes)
    prediction, steps = await service.predict(data)
    return PredictionBody(
        digit=prediction.digit,
        confidence=prediction.confidence,
        probabilities=list(prediction.probabilities),
        verdict=prediction.verdict,
        model=prediction.model,
        steps=list(steps),
    )
