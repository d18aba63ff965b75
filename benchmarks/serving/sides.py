"""The servers that are compared, and the calls that each is timed with."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import pictures
from benchmarks.machine import ROOT
from benchmarks.pictures import Body
from benchmarks.servers import Server, free_port
from benchmarks.serving import environment

CONNECTIONS = (1, 16, 64)
BATCH = 64
# Of 64 images each: more at a time would not fit in a worker's QUEUE_LIMIT of 256.
BATCH_CONNECTIONS = (1, 2)


@dataclass(frozen=True)
class Contender:
    """A server: start(folder, core) starts it; `settings` is what the table says of it."""

    name: str
    settings: str
    start: Callable[[Path, int], Server]


@dataclass(frozen=True)
class Side:
    """One server and one kind of request to it."""

    name: str
    request: str
    contender: Contender
    body: Body
    path: str = "/predict"
    images: int = 1
    connections: tuple[int, ...] = CONNECTIONS


def all_sides() -> list[Side]:
    tile = pictures.tile()
    multipart = pictures.multipart(tile)
    net = Contender(f"Inkling {_inkling_version()}", "shipped defaults", _inkling("net"))
    default = Contender("Inkling, default network", "shipped defaults", _inkling("convnet"))
    plain = Contender(f"FastAPI {version('fastapi')}", "uvicorn's defaults", _uvicorn("plain"))
    bare = Contender(f"uvicorn {version('uvicorn')}", "no access log", _uvicorn("bare", "--no-access-log"))
    lit = Contender(f"LitServe {environment.PINS['litserve']}", "batches of 64, fast_queue, log_level=warning", _lit)
    bento = Contender(f"BentoML {environment.PINS['bentoml']}", "async API, no access log, no metrics", _bento)
    return [
        Side("inkling-multipart", "multipart", net, multipart),
        Side("inkling-raw", "raw body", net, pictures.raw(tile)),
        Side(
            "inkling-batch",
            "batch of 64",
            net,
            pictures.multipart(*[tile] * BATCH, field="files"),
            "/predict/batch",
            BATCH,
            BATCH_CONNECTIONS,
        ),
        Side("inkling-default", "multipart", default, multipart),
        Side("fastapi", "multipart", plain, multipart),
        Side("litserve", "multipart", lit, multipart),
        Side("bentoml", "multipart", bento, multipart),
        Side("bare", "multipart", bare, multipart),
    ]


def _inkling_version() -> str:
    from app.main import VERSION

    return VERSION


def _inkling(model: str) -> Callable[[Path, int], Server]:
    def start(folder: Path, core: int) -> Server:
        port = free_port()
        variables = {
            "INKLING_HOME": str(folder / f"home-{model}"),
            "INKLING_MODEL": model,
            "INKLING_PORT": str(port),
            "INKLING_WORKERS": "1",
        }
        command = [sys.executable, str(ROOT / "inkling.py"), "serve"]
        return Server(f"inkling {model}", command, port, folder, {core}, variables)

    return start


def _uvicorn(module: str, *options: str) -> Callable[[Path, int], Server]:
    def start(folder: Path, core: int) -> Server:
        port = free_port()
        application = f"benchmarks.serving.others.{module}:app"
        command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), *options]
        return Server(module, command, port, folder, {core}, {"PYTHONPATH": str(ROOT)})

    return start


def _lit(folder: Path, core: int) -> Server:
    port = free_port()
    command = [str(environment.prepare() / "python"), "-m", "benchmarks.serving.others.lit", str(port)]
    return Server("litserve", command, port, folder, {core}, {"PYTHONPATH": str(ROOT)})


def _bento(folder: Path, core: int) -> Server:
    port = free_port()
    command = [str(environment.prepare() / "bentoml"), "serve", "benchmarks.serving.others.bento:Digits"]
    variables = {"PYTHONPATH": str(ROOT), "BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return Server("bentoml", [*command, "--host", "127.0.0.1", "--port", str(port)], port, folder, {core}, variables)
