"""The service's settings: environment variables with the prefix INKLING_."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.pictures import MAX_PIXELS


class Settings(BaseSettings):
    """Each field is INKLING_ and its name in capitals; the README lists them all."""

    model_config = SettingsConfigDict(env_prefix="INKLING_", extra="ignore")

    home: Path = Field(Path("state"), description="all state of a service: its versions")
    data: Path = Field(Path("data"), description="data sets; MNIST in torchvision's layout, `MNIST/raw/`")
    download: bool = Field(True, description="whether MNIST may be fetched where it is missing")
    model: Literal["convnet", "net"] = Field("convnet", description="the released model that starts a new HOME as v1")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps; one that is not there is an error")
    host: str = Field("127.0.0.1", description="the address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="the port to listen on")
    workers: int | None = Field(None, ge=1, description="processes that answer; none: one a core up to 4, 1 on a GPU")
    root_path: str = Field("", description="the path under which a proxy serves Inkling")
    max_upload_bytes: int = Field(10 * 1024 * 1024, ge=1, description="the largest body")
    max_pixels: int = Field(MAX_PIXELS, ge=1, description="the largest picture, width times height")
    batch_limit: int = Field(256, ge=1, description="the most pictures in one batch")
    queue_limit: int = Field(256, ge=1, description="images being answered at a time")
