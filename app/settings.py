"""The service's settings: environment variables with the prefix INKLING_."""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.errors import InklingError
from models.preprocessing.decode import MAX_PIXELS


class BadKeyFile(InklingError):
    pass


class Settings(BaseSettings):
    """Each field is INKLING_ and its name in capitals; docs/settings.md lists them all."""

    model_config = SettingsConfigDict(env_prefix="INKLING_", extra="ignore")

    home: Path = Field(Path("state"), description="all state of a service: versions, database, feedback")
    data: Path = Field(Path("data"), description="data sets; MNIST in torchvision's layout, `MNIST/raw/`")
    download: bool = Field(True, description="whether MNIST may be fetched where it is missing")
    initial_model: Literal["convnet", "net"] = Field(
        "convnet", description="the released model that starts a new HOME as v1"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps; one that is not there is an error")
    api_key: SecretStr | None = Field(None, description="the key for whatever changes or reveals what people sent")
    api_key_file: Path | None = Field(None, description="a file that holds the key")
    database_url: SecretStr | None = Field(None, description="SQLAlchemy URL, sqlite or postgresql; SQLite under HOME")
    host: str = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on")
    workers: int | None = Field(None, ge=1, description="processes that answer; none: one a core up to 4, 1 on a GPU")
    root_path: str = Field("", description="the path under which a proxy serves Inkling")
    max_upload_bytes: int = Field(10 * 1024 * 1024, ge=1, description="the largest body")
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="the largest picture, width times height")
    max_client_batch: int = Field(256, ge=1, description="the most pictures in one batch")
    max_concurrent_images: int = Field(256, ge=1, description="images being answered at a time")
    max_feedback: int = Field(100_000, ge=1, description="corrections that are kept")
    keep_versions: int = Field(10, ge=1, description="versions that are kept; the active one and its parent always")
    url: str = Field("http://127.0.0.1:8000", description="the service that client commands talk to")

    def workers_on(self, cores: int) -> int:
        """How many processes answer where so many cores may be used."""
        return self.workers or min(4, cores)

    def key(self) -> str | None:
        """The key that the two settings name; None where they name none. Raises BadKeyFile."""
        given = self.api_key.get_secret_value().strip() if self.api_key else ""
        if self.api_key_file is None:
            return given or None
        if given:
            raise BadKeyFile("INKLING_API_KEY and INKLING_API_KEY_FILE are both set; one key is enough")
        try:
            key = self.api_key_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise BadKeyFile(f"INKLING_API_KEY_FILE={self.api_key_file} can not be read: {reason}") from error
        if not key:
            raise BadKeyFile(f"INKLING_API_KEY_FILE={self.api_key_file} is empty; expected the key")
        return key
