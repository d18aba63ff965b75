"""How long training takes to reach 99 % and 99.5 % of the held-out digits.

    python -m benchmarks.time_to_accuracy [--data FOLDER] [--device cpu|cuda] [--seeds N] [--most-epochs N]

The recipe is `quick` with one epoch, then two, and so on, each a whole run with a schedule of its own, until the mean
over the seeds reaches the target. Timed is the training with its look at the held-out digits after each epoch, the best
of which is kept; reading the data and the first, warming run are not.
"""

import argparse
import os
import statistics
from pathlib import Path
from time import perf_counter

import torch
from rich.console import Console
from rich.table import Table

from app.settings import Settings
from benchmarks.arguments import positive
from models import devices
from models.errors import InklingError
from models.inference import networks
from models.inference.predictor import as_input
from training.data import mnist
from training.loop import fit
from training.progress import Report
from training.recipes import RECIPES, Recipe

TARGETS = (0.99, 0.995)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of training until 99 % and 99.5 % are right.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("INKLING_DATA", "data")))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--most-epochs", type=positive, default=10)
    options = parser.parse_args()
    try:
        device = devices.resolve(options.device)
        digits, held_out = mnist.split(mnist.training_set(options.data, Settings().download))
    except InklingError as error:
        parser.error(str(error))

    console = Console()
    quick = RECIPES["quick"]
    _run(quick.but(epochs=1), device, digits[torch.arange(5_000)], held_out, 0)
    table = Table("epochs", "median s", "fastest", "slowest", "held out, mean", "worst seed")
    reached: dict[float, str] = {}
    for epochs in range(1, options.most_epochs + 1):
        recipe = quick.but(epochs=epochs)
        runs = [_run(recipe, device, digits, held_out, seed) for seed in range(options.seeds)]
        seconds, right = zip(*runs, strict=True)
        times = (statistics.median(seconds), min(seconds), max(seconds))
        table.add_row(
            str(epochs), *(f"{value:.1f}" for value in times), f"{statistics.mean(right):.2%}", f"{min(right):.2%}"
        )
        for target in TARGETS:
            if statistics.mean(right) >= target:
                reached.setdefault(target, f"{times[0]:.1f} s with {epochs} epochs")
        if len(reached) == len(TARGETS):
            break
    console.print(table)
    for target in TARGETS:
        console.print(f"time to {target:.1%}: {reached.get(target, f'not within {options.most_epochs} epochs')}")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    console.print(f"{device.type}, {name}, torch {torch.__version__}, {options.seeds} seeds")


def _run(
    recipe: Recipe, device: torch.device, digits: mnist.Digits, held_out: mnist.Digits, seed: int
) -> tuple[float, float]:
    """Seconds, and the share of the held-out digits that is right afterwards."""
    torch.manual_seed(seed)
    network = networks.create(recipe.network).to(device)
    started = perf_counter()
    fit.fit(recipe, network, digits, held_out, seed, Report(quiet=True))
    seconds = perf_counter() - started
    network.eval()
    with torch.inference_mode():
        right = network(as_input(held_out.images, device)).argmax(1).cpu() == held_out.labels
    return seconds, float(right.double().mean())


if __name__ == "__main__":
    main()
