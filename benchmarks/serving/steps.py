"""The single steps of an answer, each timed alone in one process: what no server in front of them can undercut.

    python -m benchmarks.serving.steps

prints seconds a picture as JSON.
"""

import json
from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter

import numpy as np
import pydantic_core
import torch

from app.http import multipart
from benchmarks import pictures
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from models.registry import registry

BATCH = 64
SINGLE = ("multipart parse", "decode", "normalise", "batched forward", "JSON")
BATCHED = ("decode", "normalise", "batched forward")


def measure(seconds: float = 0.1, repeats: int = 7) -> dict[str, float]:
    """Each step's median, in seconds a picture."""
    torch.set_num_threads(1)
    predictor = registry.read(registry.RELEASED / "net", "v1").predictor(torch.device("cpu"))
    data = pictures.tile()
    body, boundary = pictures.multipart(data).data, pictures.BOUNDARY.encode()
    picture = decode(data)
    tile = normalise(picture)
    tiles = np.stack([tile.pixels] * BATCH)
    probabilities = predictor.calibration.probabilities(predictor.logits(tiles[:1]))[0].tolist()
    answer = {
        "digit": pictures.DIGIT,
        "confidence": max(probabilities),
        "probabilities": probabilities,
        "verdict": "digit",
        "model": "v1",
        "steps": tile.steps,
    }

    def time(work: Callable[[], object]) -> float:
        return _time(work, seconds, repeats)

    return {
        "multipart parse": time(lambda: multipart.split(body, boundary)),
        "decode": time(lambda: decode(data)),
        "normalise": time(lambda: normalise(picture)),
        "batched forward": time(lambda: predictor.logits(tiles)) / BATCH,
        "JSON": time(lambda: pydantic_core.to_json(answer)),
    }


def limit(bare: float, steps: Mapping[str, float]) -> float:
    """Requests a second that one core could answer: the bare server's time for one, and all the steps."""
    return 1 / (1 / bare + sum(steps[name] for name in SINGLE))


def max_client_batch(steps: Mapping[str, float]) -> float:
    """Images a second of a large batch, beside which the request itself costs nothing."""
    return 1 / sum(steps[name] for name in BATCHED)


def _time(work: Callable[[], object], seconds: float, repeats: int) -> float:
    """The median over repeats, each of as many calls as fill the seconds."""
    work()
    calls = 1
    while (taken := _calls(work, calls)) < seconds / 4:
        calls *= 2
    calls = max(1, round(calls * seconds / taken))
    return median(_calls(work, calls) / calls for _ in range(repeats))


def _calls(work: Callable[[], object], calls: int) -> float:
    started = perf_counter()
    for _ in range(calls):
        work()
    return perf_counter() - started


if __name__ == "__main__":
    print(json.dumps(measure()))
