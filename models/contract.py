"""The names and shapes that the service, its clients, the job runner and the trainer share.

Each is defined here once, and the others derive from it: the body of `POST /retrain` and its OpenAPI document, the
options of `inkling retrain`, what the job runner hands to the trainer, what the trainer reports, the table of problems.
The module imports no torch, so that the command line and the supervisor can read it. `app/client.py` imports nothing of
ours, because people copy it; a test compares it with this module.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from models.inference.runtimes import Runtime

NetworkName = Literal["net", "sequential", "convnet"]
"""The networks that users may request; models/inference/networks.py has further ones, which only serve as teachers."""
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)

ReleasedModel = Literal["convnet", "net"]
"""The models that Inkling ships with, under models/released."""

JobState = Literal["queued", "running", "evaluating", "succeeded", "rejected", "failed", "cancelled"]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
ENDED_STATES: tuple[JobState, ...] = ("succeeded", "rejected", "failed", "cancelled")


class JobParameters(BaseModel):
    """What to train; everything may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    network: NetworkName | None = Field(
        None, description="The active version's if not given; another one can only start from scratch."
    )
    epochs: int | None = Field(None, ge=1, le=1000, description="Passes over MNIST; the recipe's if not given.")
    start_from: Literal["current", "scratch"] = Field(
        "current", description="Fine-tune the active version, or train from scratch."
    )
    use_feedback: bool = Field(True, description="Train on the feedback as well.")
    seed: int = Field(0, ge=0, le=2**63 - 1, description="The seed of the random numbers.")
    learning_rate: float | None = Field(
        None, gt=0, le=1, allow_inf_nan=False, description="The highest learning rate; the recipe's if not given."
    )
    activate: Literal["auto", "manual"] = Field(
        "auto", description="Whether a version that passes the gate takes over at once, or waits for a person."
    )


class JobSpec(JobParameters):
    """What the job runner hands to the trainer process, as a JSON file: the parameters, and where to work.

    feedback: what the job runner exported for this job. keep_versions: how many versions stay when the job ends.
    """

    job_id: str
    home: Path
    data: Path
    download: bool
    device: str
    runtime: Runtime = "auto"
    keep_versions: int
    feedback: Path


class JobEvent(BaseModel):
    """What the trainer process reports, one JSON object a line: the job's fields that have changed."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = None
    epoch: int | None = None
    epochs: int | None = None
    progress: float | None = None
    metrics: dict[str, Any] | None = None
    version: str | None = None
    reason: str | None = None


class JobStatus(BaseModel):
    """A job as the service describes it."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    state: JobState
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epoch: int | None
    epochs: int | None
    progress: float = Field(ge=0, le=1)
    metrics: dict[str, Any]
    reason: str | None = Field(description="Why the job ended as it did.")
    version: str | None = Field(description="The version that the job saved, also a rejected one.")

    @property
    def ended(self) -> bool:
        return self.state in ENDED_STATES


@dataclass(frozen=True)
class ProblemType:
    """An error that the service answers with, as RFC 9457 has it: its `type` is `/problems/NAME`."""

    status: int
    title: str


PROBLEM_TYPES = {
    "empty-body": ProblemType(400, "The request has no image in it"),
    "malformed-multipart": ProblemType(400, "The multipart body cannot be parsed"),
    "unknown-host": ProblemType(400, "The service does not answer to this Host"),
    "bad-request": ProblemType(400, "The request cannot be understood"),
    "wrong-key": ProblemType(401, "This call needs the key"),
    "no-key-configured": ProblemType(403, "This call needs a key, and the service has none"),
    "not-found": ProblemType(404, "There is nothing here"),
    "method-not-allowed": ProblemType(405, "This path does not answer that method"),
    "head-timeout": ProblemType(408, "The head of the request took too long to arrive"),
    "body-timeout": ProblemType(408, "The body took too long to arrive"),
    "job-running": ProblemType(409, "Another job is not done yet"),
    "no-job-host": ProblemType(409, "No host runs retraining jobs"),
    "job-ended": ProblemType(409, "The job has ended"),
    "broken-version": ProblemType(409, "The version does not load"),
    "body-too-large": ProblemType(413, "The body has too many bytes"),
    "too-many-images": ProblemType(413, "The batch has too many images"),
    "too-many-pixels": ProblemType(413, "The image has too many pixels"),
    "too-complex": ProblemType(413, "The image takes too much memory or time to decode"),
    "unknown-format": ProblemType(415, "The image format is not supported"),
    "unknown-encoding": ProblemType(415, "The Content-Encoding is not supported"),
    "urlencoded-form": ProblemType(415, "A urlencoded form cannot carry an image"),
    "wrong-field": ProblemType(422, "The multipart body lacks the field that holds the image"),
    "corrupt-picture": ProblemType(422, "The image is truncated or corrupt"),
    "nothing-drawn": ProblemType(422, "The image has nothing drawn on it"),
    "bad-parameter": ProblemType(422, "A parameter is not valid"),
    "idempotency-key-reused": ProblemType(422, "The idempotency key came before, with other parameters"),
    "internal-error": ProblemType(500, "The service failed"),
    "overloaded": ProblemType(503, "The service is at its limit"),
    "not-ready": ProblemType(503, "The service cannot predict right now"),
    "database-unavailable": ProblemType(503, "The database does not answer right now"),
    "store-unavailable": ProblemType(503, "The saved versions cannot be read right now"),
    "storage-full": ProblemType(507, "The service cannot store anything more"),
}
