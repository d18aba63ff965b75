"""The servers that are compared, and the request that each is timed with."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from app.main import VERSION
from benchmarks import pictures
from benchmarks.machine import ROOT, BenchmarkError
from benchmarks.pictures import Body
from benchmarks.servers import Server, free_port, inkling
from benchmarks.serving import environment
from benchmarks.serving.environment import BENTO, FASTAPI, LIT, MLSERVER, ONNXRUNTIME

CONNECTIONS = (1, 16, 64)
BATCH = 64
# More than two batches of 64 at a time would exceed INKLING_MAX_CONCURRENT_IMAGES, 256 for each worker.
BATCH_CONNECTIONS = (1, 2)
# At 64 connections a slow machine refuses some: no decoder is free within a second.
LARGE_PICTURE_CONNECTIONS = (1, 16)
OTHER = "inkling-other"
ML_PATH = "/v2/models/inkling/infer"
OTHERS = ROOT / "benchmarks" / "serving" / "others"

Start = Callable[[Path, int], Server]
"""Starts a server with its files in a folder, bound to a core."""


@dataclass(frozen=True)
class Contender:
    """A server. settings: what the report says about its configuration."""

    name: str
    settings: str
    start: Start


@dataclass(frozen=True)
class Side:
    """One server and one kind of request to it."""

    name: str
    request: str
    contender: Contender
    body: Body
    path: str = "/predict"
    connections: tuple[int, ...] = CONNECTIONS


def all_sides(other: Path | None = None) -> list[Side]:
    """other: a checkout that serves as the side `inkling-other`, which is missing without it."""
    tile = pictures.tile()
    multipart = pictures.multipart(tile)
    canvas = pictures.multipart(pictures.canvas())
    batch = pictures.multipart(*[tile] * BATCH, field="files")
    net = Contender(f"Inkling {VERSION}", "default settings", _inkling("net"))
    default = Contender("Inkling, default network", "default settings", _inkling("convnet"))
    sides = [
        Side("inkling-multipart", "multipart", net, multipart),
        Side("inkling-raw", "raw body", net, pictures.raw(tile)),
        Side("inkling-large-picture", "280 x 280", net, canvas, connections=LARGE_PICTURE_CONNECTIONS),
        Side("inkling-batch", f"batch of {BATCH}", net, batch, "/predict/batch", BATCH_CONNECTIONS),
        Side("inkling-default", "multipart", default, multipart),
    ]
    contenders = {
        "inkling-no-fast-path": Contender("Inkling, no fast path", "else default settings", _variant("no-fast-path")),
        "inkling-silent": Contender("Inkling, no logs, no metrics", "else default settings", _variant("silent")),
        "fastapi": Contender(f"FastAPI {version('fastapi')}", "uvicorn's default settings", _uvicorn("plain")),
        "litserve": Contender(f"LitServe {LIT}", "fast_queue, log_level=warning", _lit(1)),
        "litserve-batching": Contender(f"LitServe {LIT}, batching", "max_batch_size=16, batch_timeout=1 ms", _lit(16)),
        "bentoml": Contender(f"BentoML {BENTO}", "coroutine, no access log, no metrics", _bento("Single")),
        "bentoml-batching": Contender(f"BentoML {BENTO}, batching", "max_batch_size=64", _bento("Batching")),
        "fastapi-onnx": Contender(
            f"FastAPI {FASTAPI}, ONNX Runtime {ONNXRUNTIME}, default network", "uvicorn's default settings", _plain_onnx
        ),
        "bare": Contender(f"uvicorn {version('uvicorn')}", "no access log", _uvicorn("bare", "--no-access-log")),
    }
    if other:
        contenders = {
            OTHER: Contender(f"Inkling of {other.name}", "default settings", _inkling("net", other)),
            **contenders,
        }
    mlserver = pictures.tensor(tile)
    for batch in (1, 64):
        name = "mlserver" if batch == 1 else "mlserver-batching"
        settings = "no parallel workers, no debug mode, no access log, no metrics"
        settings += f", max_batch_size={batch}, max_batch_time=1 ms" if batch > 1 else ""
        contender = Contender(f"MLServer {MLSERVER}{', batching' * (batch > 1)}, default network", settings, _ml(batch))
        sides.append(Side(name, "tensor of the Open Inference Protocol", contender, mlserver, ML_PATH))
    return [*sides, *(Side(name, "multipart", contender, multipart) for name, contender in contenders.items())]


def _inkling(model: str, checkout: Path = ROOT) -> Start:
    def start(folder: Path, core: int) -> Server:
        name = f"inkling-{model}" if checkout == ROOT else OTHER
        settings = {"WORKERS": "1", _model_setting(checkout): model}
        return inkling(name, folder, settings, {core}, checkout)

    return start


def _model_setting(checkout: Path) -> str:
    """The setting that names the first model, by the name that this checkout knows. Raises BenchmarkError."""
    script = "import json; from app.settings import Settings; print(json.dumps(list(Settings.model_fields)))"
    found = subprocess.run([sys.executable, "-c", script], cwd=checkout, capture_output=True, text=True)
    if found.returncode != 0:
        raise BenchmarkError(f"{checkout} is no checkout of Inkling that runs here:\n{found.stderr.strip()}")
    return "INITIAL_MODEL" if "initial_model" in json.loads(found.stdout) else "MODEL"


def _program(name: str, command: Callable[[int], list[str]], **variables: str) -> Start:
    """A server of ours: command(port) starts it, with this checkout on its path."""

    def start(folder: Path, core: int) -> Server:
        port = free_port()
        found = {name: value.format(folder=folder) for name, value in variables.items()}
        return Server(name, command(port), port, folder, {core}, {"PYTHONPATH": str(ROOT), **found})

    return start


def _variant(kind: str) -> Start:
    module = "benchmarks.serving.others.variant"
    variables = {"INKLING_HOME": f"{{folder}}/home-{kind}", "INKLING_INITIAL_MODEL": "net"}
    return _program(kind, lambda port: [sys.executable, "-m", module, str(port), kind], **variables)


def _uvicorn(module: str, *options: str) -> Start:
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.serving.others.{module}:app", *options, "--port"]
    return _program(module, lambda port: [*command, str(port)])


def _lit(batch: int) -> Start:
    def command(port: int) -> list[str]:
        python = str(environment.prepare("litserve") / "python")
        return [python, "-m", "benchmarks.serving.others.lit", str(port), str(batch)]

    return _program("litserve", command)


def _bento(service: str) -> Start:
    def command(port: int) -> list[str]:
        serve = [str(environment.prepare("bentoml") / "bentoml"), "serve", f"benchmarks.serving.others.bento:{service}"]
        return [*serve, "--host", "127.0.0.1", "--port", str(port)]

    return _program("bentoml", command, BENTOML_HOME=f"{{folder}}/bentoml-{service}", BENTOML_DO_NOT_TRACK="True")


def _plain_onnx(folder: Path, core: int) -> Server:
    uvicorn, port = str(environment.prepare("fastapi-onnx") / "uvicorn"), free_port()
    return Server(
        "plain-onnx", [uvicorn, "--app-dir", str(OTHERS), "plain_onnx:app", "--port", str(port)], port, folder, {core}
    )


def _ml(batch: int) -> Start:
    def start(folder: Path, core: int) -> Server:
        port, model = free_port(), folder / f"mlserver-{batch}"
        model.mkdir()
        settings = {
            "debug": False,
            "parallel_workers": 0,
            "metrics_endpoint": None,
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": free_port(),
            "logging_settings": {"version": 1, "disable_existing_loggers": True, "root": {"level": "WARNING"}},
        }
        batching = {"max_batch_size": batch, "max_batch_time": 0.001} if batch > 1 else {}
        (model / "settings.json").write_text(json.dumps(settings))
        described = {"name": "inkling", "implementation": "mlserver_model.Digits", **batching}
        (model / "model-settings.json").write_text(json.dumps(described))
        command = [str(environment.prepare("mlserver") / "mlserver"), "start", str(model)]
        return Server(model.name, command, port, folder, {core}, {"PYTHONPATH": str(OTHERS)})

    return start
