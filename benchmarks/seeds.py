"""What the seed of a training run changes: the accuracy of several runs of one recipe, their mean and spread.

    python -m benchmarks.seeds FOLDER [--recipe NAME] [--seeds N] [--network NAME] [--data FOLDER] [--usps FILE]

Trains with seeds 0, 1, 2, ... into FOLDER/seed0 and so on, as `inkling train --output` does, by one set of teachers in
FOLDER/teachers, and measures each on the held-out digits, the MNIST test set and, where its file is given, on USPS. A
seed whose folder is there already is only measured, and one that was cut short goes on where it was.
"""

import argparse
import os
import statistics
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from app.settings import Settings
from benchmarks.arguments import positive
from models.errors import DataError, InklingError
from models.inference.networks import NETWORKS
from models.inference.predictor import Predictor
from models.registry import registry
from training.data import mnist
from training.evaluation.answers import answer
from training.evaluation.datasets import Dataset, load, of_digits
from training.progress import Report
from training.recipes import RECIPES
from training.run import Run, train


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy over several seeds of one recipe.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", choices=("default", "long"), default="default")
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("INKLING_DATA", "data")))
    parser.add_argument("--usps", type=Path)
    options = parser.parse_args()
    try:
        _, held_out = mnist.split(mnist.training_set(options.data, Settings().download))
        datasets = [of_digits("MNIST held out", held_out), load(options.data)]
        datasets += [load(options.usps)] if options.usps else []
        folders = [_trained(options, seed) for seed in range(options.seeds)]
        cpu = torch.device("cpu")
        rows = [[_accuracy(registry.read(path).predictor(cpu), dataset) for dataset in datasets] for path in folders]
    except InklingError as error:
        parser.error(str(error))

    table = Table("", *(dataset.name for dataset in datasets))
    for path, row in zip(folders, rows, strict=True):
        table.add_row(path.name, *(f"{value:.2%}" for value in row))
    columns = list(zip(*rows, strict=True))
    table.add_row("mean", *(f"{statistics.mean(column):.3%}" for column in columns))
    if len(rows) > 1:
        table.add_row("standard deviation", *(f"{100 * statistics.stdev(column):.3f} points" for column in columns))
    Console().print(table)


def _trained(options: argparse.Namespace, seed: int) -> Path:
    folder: Path = options.folder / f"seed{seed}"
    if not (folder / "manifest.json").exists():
        run = Run(
            recipe=options.recipe,
            data=options.data,
            home=options.folder,
            output=folder,
            seed=seed,
            network=options.network,
            checkpoint=options.folder / f"seed{seed}.pt",
            teachers=options.folder / "teachers",
        )
        train(run, Report())
    manifest = registry.read(folder).manifest
    network = options.network or RECIPES[options.recipe].network
    found = (manifest.training["recipe"], manifest.network, manifest.training["seed"])
    if found != (options.recipe, network, seed):
        recipe, network, seed = found
        raise DataError(f"{folder} is a {network} by the recipe {recipe} with seed {seed}; name another folder")
    return folder


def _accuracy(predictor: Predictor, dataset: Dataset) -> float:
    return float(answer(predictor, dataset.samples).correct.mean())


if __name__ == "__main__":
    main()
