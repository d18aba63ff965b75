"""What each step between a request's bytes and its answer costs, on one core and without HTTP.

    python -m benchmarks.steps [--rounds N]

Microseconds of processor time an image, the least of many rounds: other work on the machine only ever adds to it.
"""

import argparse
import timeit
from collections.abc import Callable
from functools import partial
from time import thread_time

import numpy as np
import torch
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table

from app.http import multipart
from benchmarks import pictures
from benchmarks.arguments import positive
from models.inference.batcher import BATCH_SIZES
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from models.registry.registry import RELEASED, read


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.steps", description="What each step of an answer costs."
    )
    parser.add_argument("--rounds", type=positive, default=25, help="of each step; the table has the least")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    tile, canvas = pictures.tile(), pictures.SEVEN.read_bytes()
    body, boundary = pictures.multipart(tile).data, pictures.BOUNDARY.encode()

    table = Table("step", "us an image", title="From bytes to an answer, one core")

    def row(name: str, step: Callable[[], object], images: int = 1) -> None:
        table.add_row(name, f"{microseconds(step, rounds) / images:.1f}")

    row("multipart, as most clients write it", lambda: multipart.split(body, boundary))
    row("multipart, any", lambda: multipart.parse(body, boundary))
    row("decode a tile, PNG of 28 x 28", lambda: decode(tile))
    row("decode a canvas, PNG of 280 x 280", lambda: decode(canvas))
    tile_picture, canvas_picture = decode(tile), decode(canvas)
    row("normalise the tile, which is ready", lambda: normalise(tile_picture))
    row("normalise the canvas", lambda: normalise(canvas_picture))
    pixels = normalise(tile_picture).pixels
    for name in ("net", "convnet"):
        predictor = read(RELEASED / name).predictor(torch.device("cpu"))
        for size in (1, 16, BATCH_SIZES[-1]):
            tiles = np.repeat(pixels[None], size, axis=0)
            row(f"predict with {name}, batch of {size}", partial(predictor.predict, tiles), size)
    prediction = predictor.predict(pixels[None])[0]._asdict()
    row("JSON", lambda: to_json(prediction))
    Console().print(table)


def microseconds(step: Callable[[], object], rounds: int) -> float:
    step()
    timer = timeit.Timer(step, timer=thread_time)
    number = max(1, round(0.002 / max(timer.timeit(3) / 3, 1e-7)))
    return min(timer.repeat(rounds, number)) / number * 1e6


if __name__ == "__main__":
    main()
