"""The cost of each step between the bytes of a request and its answer, on one core and without HTTP.

Microseconds per image. Processor time is the least of all rounds, since other work on the machine only adds to it; wall
time is the median.
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
from models.registry.registry import RELEASED, read

SAMPLE_SECONDS = 0.005
"""How long the calls of one round last together."""
BATCH = 64
NETWORKS = ("net", "convnet")


@dataclass(frozen=True)
class Step:
    """run: one call, which handles this many images."""

    name: str
    run: Callable[[], object]
    images: int = 1


@dataclass(frozen=True)
class Cost:
    """processor, wall: the seconds per image of each round."""

    processor: list[float]
    wall: list[float]


def steps() -> dict[str, Step]:
    tile, canvas = pictures.tile(), pictures.canvas()
    body, boundary = pictures.multipart(tile).data, pictures.BOUNDARY.encode()
    tile_picture, canvas_picture = decode(tile), decode(canvas)
    normalised = normalise(tile_picture)
    found = {
        "multipart": Step("multipart body, as most clients write it", lambda: multipart.split(body, boundary)),
        "multipart-any": Step("multipart body, any", lambda: multipart.parse(body, boundary)),
        "decode": Step("decode a PNG of 28 x 28", lambda: decode(tile)),
        "decode-canvas": Step("decode a PNG of 280 x 280", lambda: decode(canvas)),
        "normalise": Step("normalise a tile that is normalised already", lambda: normalise(tile_picture)),
        "normalise-canvas": Step("normalise 280 x 280", lambda: normalise(canvas_picture)),
    }
    for name in NETWORKS:
        predictor = read(RELEASED / name, "v1").predictor(torch.device("cpu"))
        for size in (1, 16, BATCH):
            tiles = np.repeat(normalised.pixels[None], size, axis=0)
            found[f"{name}-{size}"] = Step(
                f"predict with {name}, batch of {size}", partial(predictor.predict, tiles), size
            )
        forward = partial(predictor.logits, tiles)
        found[f"{name}-forward"] = Step(f"forward pass of {name} alone, batch of {BATCH}", forward, BATCH)
    answer = {**predictor.predict(tiles[:1])[0]._asdict(), "steps": normalised.steps}
    return {**found, "json": Step("JSON", lambda: to_json(answer))}


def measure(names: list[str] | None, rounds: int) -> dict[str, tuple[Step, Cost]]:
    torch.set_num_threads(1)
    return {name: (step, cost(step, rounds)) for name, step in steps().items() if not names or name in names}


def cost(step: Step, rounds: int) -> Cost:
    step.run()
    calls = max(1, round(SAMPLE_SECONDS / max(_seconds(step, 3)[1], 1e-7) * 3))
    found = [_seconds(step, calls) for _ in range(rounds)]
    return Cost(*([seconds / calls / step.images for seconds in kind] for kind in zip(*found, strict=True)))


def _seconds(step: Step, calls: int) -> tuple[float, float]:
    processor, wall = thread_time(), perf_counter()
    for _ in range(calls):
        step.run()
    return thread_time() - processor, perf_counter() - wall


def report(options: argparse.Namespace) -> Report:
    found = measure(options.only, options.rounds)
    rows = [
        [name, step.name, f"{min(cost.processor) * 1e6:.1f}", f"{median(cost.wall) * 1e6:.1f}"]
        for name, (step, cost) in found.items()
    ]
    header = ["name", "step", "processor us per image", "wall us per image"]
    return Report([table(header, rows)], figures={"steps": {name: cost for name, (_, cost) in found.items()}})


NAMES = (
    *("multipart", "multipart-any", "decode", "decode-canvas", "normalise", "normalise-canvas"),
    *(f"{network}-{kind}" for network in NETWORKS for kind in (1, 16, BATCH, "forward")),
    "json",
)

if __name__ == "__main__":
    runner.main(runner.parser("steps", __doc__, rounds=25, parts=NAMES), report)
