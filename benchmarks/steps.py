"""The cost of each step between the bytes of a request and its answer, on one core and without HTTP.

Microseconds per image. Processor time is the least of all rounds, since other work on the machine only adds to it; wall
time is the median. `multipart` is a body as most clients write it, `multipart-any` one of any other form; a canvas has
280 x 280 pixels, other images 28 x 28; `convnet-64` is a prediction in a batch of 64, `convnet-forward` its forward
pass alone.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter, thread_time

import numpy as np
import torch
from pydantic_core import to_json

from app.http import multipart
from benchmarks import pictures, runner
from benchmarks.runner import Report
from benchmarks.tables import table
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from models.registry.registry import RELEASED
from models.registry.version_files import read

SAMPLE_SECONDS = 0.005
"""How long the calls of one round last together."""
BATCH = 64
NETWORKS = ("net", "convnet")


@dataclass(frozen=True)
class Cost:
    """processor, wall: the seconds per image of each round."""

    processor: list[float]
    wall: list[float]


Step = tuple[Callable[[], object], int]
"""A call, and how many images it handles."""


def steps() -> dict[str, Step]:
    tile, canvas = pictures.tile(), pictures.canvas()
    body, boundary = pictures.multipart(tile).data, pictures.BOUNDARY.encode()
    tile_picture, canvas_picture = decode(tile), decode(canvas)
    normalised = normalise(tile_picture)
    found: dict[str, Step] = {
        "multipart": (lambda: multipart.split(body, boundary), 1),
        "multipart-any": (lambda: multipart.parse(body, boundary), 1),
        "decode": (lambda: decode(tile), 1),
        "decode-canvas": (lambda: decode(canvas), 1),
        "normalise": (lambda: normalise(tile_picture), 1),
        "normalise-canvas": (lambda: normalise(canvas_picture), 1),
    }
    for name in NETWORKS:
        predictor = read(RELEASED / name, "v1").predictor()
        for size in (1, 16, BATCH):
            tiles = np.repeat(normalised.pixels[None], size, axis=0)
            found[f"{name}-{size}"] = (partial(predictor.predict, tiles), size)
        found[f"{name}-forward"] = (partial(predictor.logits, tiles), BATCH)
    answer = {**predictor.predict(tiles[:1])[0]._asdict(), "steps": normalised.steps}
    return {**found, "json": (lambda: to_json(answer), 1)}


def measure(names: list[str] | None, rounds: int) -> dict[str, Cost]:
    torch.set_num_threads(1)
    return {name: _cost(*step, rounds) for name, step in steps().items() if not names or name in names}


def _cost(call: Callable[[], object], images: int, rounds: int) -> Cost:
    call()
    calls = max(1, round(3 * SAMPLE_SECONDS / max(_seconds(call, 3)[1], 1e-7)))
    found = [_seconds(call, calls) for _ in range(rounds)]
    return Cost(*([seconds / calls / images for seconds in kind] for kind in zip(*found, strict=True)))


def _seconds(call: Callable[[], object], calls: int) -> tuple[float, float]:
    processor, wall = thread_time(), perf_counter()
    for _ in range(calls):
        call()
    return thread_time() - processor, perf_counter() - wall


def report(options: argparse.Namespace) -> Report:
    found = measure(options.only, options.rounds)
    rows = [[n, f"{min(cost.processor) * 1e6:.1f}", f"{median(cost.wall) * 1e6:.1f}"] for n, cost in found.items()]
    return Report([table(["step", "processor us per image", "wall us per image"], rows)], figures={"steps": found})


NAMES = (
    *("multipart", "multipart-any", "decode", "decode-canvas", "normalise", "normalise-canvas"),
    *(f"{network}-{kind}" for network in NETWORKS for kind in (1, 16, BATCH, "forward")),
    "json",
)

if __name__ == "__main__":
    runner.main(runner.parser("steps", __doc__, rounds=25, parts=NAMES), report)
