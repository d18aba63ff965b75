"""The accuracy of several training runs of one recipe that differ in their seed: each, mean and standard deviation.

Trains with seeds 0, 1, 2, ... into FOLDER/seed0 and so on, as `inkling train --output` does, with one set of teachers
in FOLDER/teachers, and measures each on held-out MNIST, the MNIST test set and, with --usps, on USPS. A version that
is in FOLDER already is only measured, and an interrupted run continues from its checkpoint.
"""

import argparse
from pathlib import Path
from statistics import mean, stdev

from app.settings import Settings
from benchmarks import runner
from benchmarks.runner import Report
from benchmarks.tables import table
from models.errors import DataError
from models.inference.networks import NETWORKS
from models.registry import registry, version_files
from training.data import mnist
from training.evaluation.answers import answer
from training.evaluation.datasets import load, of_digits
from training.progress import Report as Progress
from training.recipes import RECIPES
from training.run import Run, train


def measure(options: argparse.Namespace) -> Report:
    _, held_out = mnist.split(mnist.training_set(options.data, Settings().download))
    datasets = [of_digits("MNIST held out", held_out), load(options.data)]
    datasets += [load(options.usps)] if options.usps else []
    versions = [_trained(options, seed) for seed in range(options.rounds)]
    predictors = [version.predictor() for version in versions]
    shares = [[float(answer(one, dataset.samples).correct.mean()) for dataset in datasets] for one in predictors]
    rows = [[f"seed {seed}", *(f"{share:.2%}" for share in row)] for seed, row in enumerate(shares)]
    columns = list(zip(*shares, strict=True))
    rows.append(["mean", *(f"{mean(column):.3%}" for column in columns)])
    if len(shares) > 1:
        rows.append(["standard deviation, points", *(f"{100 * stdev(column):.3f}" for column in columns)])
    names = [dataset.name for dataset in datasets]
    return Report([table(["right", *names], rows)], figures={"data sets": names, "right": shares})


def _trained(options: argparse.Namespace, seed: int) -> registry.Version:
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
        train(run, Progress())
    version = version_files.read(folder)
    manifest, network = version.manifest, options.network or RECIPES[options.recipe].network
    found = (manifest.training["recipe"], manifest.network, manifest.training["seed"])
    if found != (options.recipe, network, seed):
        recipe, network, seed = found
        raise DataError(f"{folder} holds a {network} by the recipe {recipe} with seed {seed}; name another folder")
    return version


if __name__ == "__main__":
    parser = runner.parser("seeds", __doc__, rounds=3, data=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", choices=("quick", "default", "long"), default="default")
    parser.add_argument("--network", choices=NETWORKS)
    parser.add_argument("--usps", type=Path, metavar="FILE")
    runner.main(parser, measure)
