"""Seconds of training until 99 % and 99.5 % of the held-out digits are right.

The recipe is `quick` with one epoch, then two, and so on, each a whole run with a schedule of its own, until the mean
over the seeds, one for each round, reaches the target. The time includes the evaluation after each epoch, by which the
best one is kept; it does not include reading the data or a first run to warm up.
"""

import argparse
from statistics import mean
from time import perf_counter

import torch

from app.settings import Settings
from benchmarks import runner
from benchmarks.machine import say
from benchmarks.runner import Report
from benchmarks.tables import spread, table
from benchmarks.tutorial import accuracy
from models import devices
from models.inference import networks
from training.data import mnist
from training.data.mnist import Digits
from training.loop import fit
from training.progress import Report as Progress
from training.recipes import RECIPES

TARGETS = (0.99, 0.995)


def measure(options: argparse.Namespace) -> Report:
    device = torch.device(devices.resolve(options.device))
    digits, held_out = mnist.split(mnist.training_set(options.data, Settings().download))
    _run(1, device, digits[torch.arange(5_000)], held_out, 0)
    rows, reached = [], dict[float, int]()
    for epochs in range(1, options.most_epochs + 1):
        runs = [_run(epochs, device, digits, held_out, seed) for seed in range(options.rounds)]
        seconds, right = zip(*runs, strict=True)
        rows.append([str(epochs), spread(seconds, "{:.1f}"), f"{mean(right):.2%}", f"{min(right):.2%}"])
        say(f"{epochs} epochs: {rows[-1][1]} s, {rows[-1][2]} right")
        for target in TARGETS:
            if mean(right) >= target:
                reached.setdefault(target, epochs)
        if len(reached) == len(TARGETS):
            break
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    lines = [f"{device.type}, {name}, {options.rounds} seeds."]
    lines += [f"{t:.1%}: {f'{reached[t]} epochs' if t in reached else 'not reached'}." for t in TARGETS]
    header = ["epochs", "training, s", "held out right, mean", "worst seed"]
    return Report([table(header, rows), " ".join(lines)], figures={"rows": rows, "epochs": reached})


def _run(epochs: int, device: torch.device, digits: Digits, held_out: Digits, seed: int) -> tuple[float, float]:
    """Seconds of training, and the share of the held-out digits that is right afterwards."""
    recipe = RECIPES["quick"].with_changes(epochs=epochs)
    torch.manual_seed(seed)
    network = networks.create(recipe.network).to(device)
    started = perf_counter()
    fit.fit(recipe, network, digits, held_out, seed, Progress(quiet=True))
    return perf_counter() - started, accuracy(network, held_out)


if __name__ == "__main__":
    parser = runner.parser("time_to_accuracy", __doc__, rounds=3, data=True)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--most-epochs", type=runner.positive, default=10, help="where to give up (%(default)s)")
    runner.main(parser, measure)
