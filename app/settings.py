"""The service's settings: environment variables with the prefix INKLING_."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from models import cpus
from models.contract import ReleasedModel
from models.errors import InklingError
from models.inference.runtimes import Runtime
from models.preprocessing.file_structure import MAX_PIXELS

PREFIX = "INKLING_"
MAX_CPU_WORKERS = 4

FORMER_NAMES = {
    "QUEUE_LIMIT": "MAX_CONCURRENT_IMAGES",
    "BATCH_LIMIT": "MAX_CLIENT_BATCH",
    "MODEL": "INITIAL_MODEL",
    "FEEDBACK_LIMIT": "MAX_FEEDBACK",
}

# Kubernetes describes a Service named `inkling`, or `inkling-NAME`, to every container by such variables.
_KUBERNETES_NAME = re.compile(r".*(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)")
_KUBERNETES_PORT = re.compile(r"(tcp|udp|sctp)://.*")

_HOST_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_PATH = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")

Limit = Annotated[int, Field(ge=1, le=1_000_000_000)]


class FormerSetting(InklingError):
    """A variable uses the former name of a setting."""


class Settings(BaseSettings):
    """Each field is INKLING_ and its name in capitals; docs/settings.md lists them all."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    home: Path = Field(Path("state"), description="the folder of all state: versions, database, feedback")
    data: Path = Field(Path("data"), description="data sets; MNIST in torchvision's layout, `MNIST/raw/`")
    download: bool = Field(True, description="whether MNIST may be downloaded where it is missing")
    initial_model: ReleasedModel = Field("convnet", description="the released model that starts a new HOME as v1")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps; a missing device is an error")
    runtime: Runtime = Field("auto", description="what computes on a CPU: onnxruntime, torch, or auto")
    api_key: SecretStr | None = Field(None, description="the key for every call that changes state or shows feedback")
    api_key_file: Path | None = Field(None, description="a file of up to 16 keys, one a line")
    database_url: SecretStr | None = Field(None, description="SQLAlchemy URL, sqlite or postgresql; SQLite under HOME")
    host: str = Field("127.0.0.1", description="the address to listen on; a name means all its addresses")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on")
    workers: int | None = Field(
        None, ge=1, le=256, description="worker processes; none: one a core up to 4, 1 on a GPU"
    )
    root_path: str = Field("", description="the path under which a proxy serves Inkling")
    allowed_hosts: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="the Host names that are answered, separated by commas; any if not set"
    )
    max_upload_bytes: Limit = Field(10 * 1024 * 1024, description="the largest request body, in bytes")
    max_pixels: Limit = Field(MAX_PIXELS, description="the largest image, width times height")
    max_client_batch: Limit = Field(256, description="the most images in one batch request")
    max_concurrent_images: Limit = Field(256, description="the most images in flight in each worker")
    max_feedback: Limit = Field(100_000, description="the most feedback images that are kept")
    keep_versions: Limit = Field(10, description="the newest versions that are kept; the active one always is")
    run_jobs: bool = Field(True, description="whether this host runs retraining jobs")
    url: str = Field("http://127.0.0.1:8000", description="the service that client commands talk to")

    @field_validator("port", mode="before")
    @classmethod
    def _ignore_kubernetes_port(cls, value: Any) -> Any:
        """Kubernetes sets INKLING_PORT=tcp://ADDRESS:PORT for a Service named `inkling`; this is not a chosen port."""
        return cls.model_fields["port"].default if _KUBERNETES_PORT.match(str(value)) else value

    @field_validator("root_path")
    @classmethod
    def _normalise_root_path(cls, value: str) -> str:
        """Begins with a slash and ends without one; "" for the root."""
        path = value.strip("/")
        if path and not _PATH.fullmatch(path):
            raise PydanticCustomError("path", "expected a path such as /digits, of letters, digits and - . _ ~")
        return f"/{path}" if path else ""

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: Any) -> Any:
        names = tuple(name.strip().lower() for name in value.split(",")) if isinstance(value, str) else value
        for name in names or ():
            if not _HOST_NAME.fullmatch(name):
                raise PydanticCustomError("host", "expected names such as example.org,*.example.org, without ports")
        return names

    def worker_count(self, device: str) -> int:
        """How many worker processes serve on this device."""
        return self.workers or (min(MAX_CPU_WORKERS, cpus.usable()) if device == "cpu" else 1)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A warning for each variable with our prefix that is not a setting. Raises FormerSetting for a former name."""
    known = [name.upper() for name in Settings.model_fields]
    warnings = []
    for variable, value in environment.items():
        prefix, name = variable[: len(PREFIX)].upper(), variable[len(PREFIX) :].upper()
        if prefix != PREFIX or name in known or _KUBERNETES_NAME.fullmatch(name) or _KUBERNETES_PORT.match(value):
            continue
        if name in FORMER_NAMES:
            raise FormerSetting(f"{variable} is now called {PREFIX}{FORMER_NAMES[name]}; set that instead")
        nearest = get_close_matches(name, known, 1)
        hint = f"did you mean {PREFIX}{nearest[0]}?" if nearest else "docs/settings.md lists the settings"
        warnings.append(f"{variable} is not a setting; {hint}")
    return warnings
