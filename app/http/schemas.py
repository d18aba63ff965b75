"""What the OpenAPI document says of images, predictions and problems, and functions that write predictions quickly."""

from typing import Any

from pydantic import BaseModel, Field
from pydantic_core import to_json

from models.inference.batcher import InferenceResult
from models.inference.calibration import Verdict
from models.preprocessing.normalise import Step


class PredictionBody(BaseModel):
    """The prediction for one image."""

    digit: int = Field(ge=0, le=9, description="The most probable digit, also when the verdict is `unsure`.")
    confidence: float = Field(ge=0, le=1, description="Calibrated: nine in ten predictions with 0.9 are right.")
    probabilities: list[float] = Field(
        min_length=10, max_length=10, description="One for each digit from 0 to 9; they sum to 1."
    )
    verdict: Verdict = Field(description="`unsure`: a person should check the image.")
    model: str = Field(description="The version that predicted.")
    steps: list[Step] = Field(description="What normalisation did to the image, in order.")


class ProblemBody(BaseModel):
    """An error as RFC 9457 defines it; some problems have further members."""

    type: str = Field(description="`/problems/NAME`")
    title: str
    status: int
    detail: str


class FailedBody(BaseModel):
    """Replaces the prediction of an image in a batch that could not be predicted."""

    error: ProblemBody


class BatchBody(BaseModel):
    results: list[PredictionBody | FailedBody] = Field(description="In the order of the images.")


BINARY = {"type": "string", "format": "binary"}


def multipart_body(description: str, properties: dict[str, Any], **other_types: Any) -> dict[str, Any]:
    """The OpenAPI request body of a route that parses its body itself; other_types: schemas by further media types."""
    schemas = {
        "multipart/form-data": {"type": "object", "required": list(properties), "properties": properties},
        **other_types,
    }
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def prediction_members(result: InferenceResult) -> dict[str, Any]:
    """The members of PredictionBody, in its order. Pydantic's own model would take as long as a small network."""
    digit, confidence, probabilities, verdict, model = result.prediction
    return {
        "digit": digit,
        "confidence": confidence,
        "probabilities": probabilities,
        "verdict": verdict,
        "model": model,
        "steps": result.tile.steps,
    }


def prediction_json(result: InferenceResult) -> bytes:
    return to_json(prediction_members(result))
