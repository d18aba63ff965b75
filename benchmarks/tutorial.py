"""The tutorial recipe against the loop that every introduction has: seconds an epoch, and accuracy.

    python -m benchmarks.tutorial [--data FOLDER] [--rounds N]

Both sides train the same network on the same 55,000 digits with the same optimiser settings, in turn, in one process.
The other side is a DataLoader (num_workers=0) over torchvision's MNIST with ToTensor(). Accuracy is on the MNIST test
set, of which nothing is chosen here.
"""

import argparse
import os
import statistics
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from app.settings import Settings
from benchmarks.arguments import positive
from models.errors import DataError
from models.inference import networks
from models.inference.predictor import as_input
from training.data import mnist
from training.loop import tutorial
from training.progress import Report
from training.recipes import RECIPES

SEEDS = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(description="The tutorial recipe against a loop over DataLoader.")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("INKLING_DATA", "data")))
    parser.add_argument("--rounds", type=positive, default=3, help="how often each side is timed")
    options = parser.parse_args()
    try:
        digits, _ = mnist.split(mnist.training_set(options.data, Settings().download))
        test = mnist.test_set(options.data, Settings().download)
    except DataError as error:
        parser.error(str(error))

    samples = _samples(options.data)
    ours, theirs = [], []
    for seed in range(options.rounds):
        ours.append(_seconds(lambda seed=seed: _tutorial(digits, test, seed)))
        theirs.append(_seconds(lambda seed=seed: _data_loader(*samples, seed)))
    accuracies = [_accuracy(_tutorial(digits, test, seed), test) for seed in SEEDS]

    table = Table("", "median s an epoch", "fastest", "slowest")
    for name, seconds in (("inkling train --recipe tutorial", ours), ("DataLoader and ToTensor", theirs)):
        table.add_row(name, *(f"{value:.2f}" for value in (statistics.median(seconds), min(seconds), max(seconds))))
    console = Console()
    console.print(table)
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    console.print(f"ratio, round by round: {', '.join(f'{ratio:.1f}' for ratio in ratios)}")
    console.print(f"test accuracy of the recipe, seeds 0 to 4: {', '.join(f'{value:.2%}' for value in accuracies)}")
    console.print(
        f"mean {statistics.mean(accuracies):.2%}; torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def _tutorial(digits: mnist.Digits, test: mnist.Digits, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = networks.create("net")
    tutorial.fit(RECIPES["tutorial"], network, digits, test, seed, Report(quiet=True))
    return network


def _samples(folder: Path) -> tuple[Dataset, Dataset]:
    """What the other side trains and tests on, as an introduction would write it, less the held-out digits."""
    held_out = set(mnist.held_out_indices().tolist())
    chosen = [index for index in range(60_000) if index not in held_out]
    train = Subset(MNIST(str(folder), train=True, transform=ToTensor()), chosen)
    return train, MNIST(str(folder), train=False, transform=ToTensor())


def _data_loader(train: Dataset, test: Dataset, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    loader = DataLoader(train, batch_size=64, shuffle=True, num_workers=0)
    network = networks.create("net")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.002)
    for images, labels in loader:
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        sum(int((network(images).argmax(1) == labels).sum()) for images, labels in DataLoader(test, batch_size=64))
    return network


def _accuracy(network: torch.nn.Module, test: mnist.Digits) -> float:
    with torch.inference_mode():
        return float((network(as_input(test.images)).argmax(1) == test.labels).double().mean())


def _seconds(work: object) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


if __name__ == "__main__":
    main()
