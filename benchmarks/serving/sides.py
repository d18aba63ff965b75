"""The servers that are compared, and the calls that each is timed with."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import pictures
from benchmarks.machine import ROOT
from benchmarks.pictures import Body
from benchmarks.servers import Server, free_port, inkling
from benchmarks.serving import environment

LIT, BENTO = environment.PINS["litserve"], environment.PINS["bentoml"]
CONNECTIONS = (1, 16, 64)
BATCH = 64
# Of 64 images each: more at a time would not fit in a worker's INKLING_MAX_CONCURRENT_IMAGES of 256.
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
    silent = Contender("Inkling, neither logs nor metrics", "else shipped defaults", _silent)
    default = Contender("Inkling, default network", "shipped defaults", _inkling("convnet"))
    plain = Contender(f"FastAPI {version('fastapi')}", "uvicorn's defaults", _uvicorn("plain"))
    bare = Contender(f"uvicorn {version('uvicorn')}", "no access log", _uvicorn("bare", "--no-access-log"))
    others = {
        "litserve": Contender(f"LitServe {LIT}", "fast_queue, log_level=warning", _lit(1)),
        "litserve-batching": Contender(f"LitServe {LIT}, batching", "max_batch_size=16, batch_timeout=1 ms", _lit(16)),
        "bentoml": Contender(f"BentoML {BENTO}", "coroutine, no access log, no metrics", _bento("Single")),
        "bentoml-batching": Contender(f"BentoML {BENTO}, batching", "max_batch_size=64", _bento("Batching")),
    }
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
        Side("inkling-silent", "multipart", silent, multipart),
        Side("fastapi", "multipart", plain, multipart),
        *(Side(name, "multipart", contender, multipart) for name, contender in others.items()),
        Side("bare", "multipart", bare, multipart),
    ]


def _inkling_version() -> str:
    from app.main import VERSION

    return VERSION


def _inkling(model: str) -> Callable[[Path, int], Server]:
    return lambda folder, core: inkling(f"inkling-{model}", folder, {core}, INITIAL_MODEL=model, WORKERS="1")


def _silent(folder: Path, core: int) -> Server:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.serving.others.silent", str(port)]
    variables = {"INKLING_HOME": str(folder / "home-silent"), "INKLING_INITIAL_MODEL": "net", "PYTHONPATH": str(ROOT)}
    return Server("silent", command, port, folder, {core}, variables)


def _uvicorn(module: str, *options: str) -> Callable[[Path, int], Server]:
    def start(folder: Path, core: int) -> Server:
        port = free_port()
        application = f"benchmarks.serving.others.{module}:app"
        command = [sys.executable, "-m", "uvicorn", application, "--port", str(port), *options]
        return Server(module, command, port, folder, {core}, {"PYTHONPATH": str(ROOT)})

    return start


def _lit(batch: int) -> Callable[[Path, int], Server]:
    def start(folder: Path, core: int) -> Server:
        port = free_port()
        python = str(environment.prepare() / "python")
        command = [python, "-m", "benchmarks.serving.others.lit", str(port), str(batch)]
        return Server("litserve", command, port, folder, {core}, {"PYTHONPATH": str(ROOT)})

    return start


def _bento(service: str) -> Callable[[Path, int], Server]:
    def start(folder: Path, core: int) -> Server:
        port = free_port()
        bentoml = str(environment.prepare() / "bentoml")
        command = [bentoml, "serve", f"benchmarks.serving.others.bento:{service}"]
        variables = {
            "PYTHONPATH": str(ROOT),
            "BENTOML_HOME": str(folder / f"bentoml-{service}"),
            "BENTOML_DO_NOT_TRACK": "True",
        }
        options = ["--host", "127.0.0.1", "--port", str(port)]
        return Server("bentoml", [*command, *options], port, folder, {core}, variables)

    return start
