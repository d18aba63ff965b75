"""The recipe `tutorial` against the loop of every introduction: seconds per epoch, and test accuracy.

Both sides train the same network on the same 55,000 digits with the same optimiser settings, in turn, in one process.
The other side is a DataLoader (num_workers=0) over torchvision's MNIST with ToTensor(). The accuracy is that of the
recipe on the MNIST test set, which nothing is chosen by.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from time import perf_counter

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from app.settings import Settings
from benchmarks import runner
from benchmarks.machine import say
from benchmarks.runner import Report
from benchmarks.tables import Target, spread, table
from models.inference import networks
from models.inference.predictor import as_input
from training.data import mnist
from training.loop import tutorial
from training.progress import Report as Progress
from training.recipes import TUTORIAL

SEEDS = range(5)


def measure(options: argparse.Namespace) -> Report:
    digits, _ = mnist.split(mnist.training_set(options.data, Settings().download))
    test = mnist.test_set(options.data, Settings().download)
    samples = _samples(options.data)
    ours, theirs = [], []
    for seed in range(options.rounds):
        ours.append(_seconds(lambda seed=seed: _tutorial(digits, test, seed)))
        theirs.append(_seconds(lambda seed=seed: _data_loader(*samples, seed)))
        say(f"round {seed + 1} of {options.rounds}: {ours[-1]:.2f} s and {theirs[-1]:.2f} s")
    accuracies = [_accuracy(_tutorial(digits, test, seed), test) for seed in SEEDS]
    rows = [["recipe `tutorial`", spread(ours, "{:.2f}")], ["DataLoader and ToTensor", spread(theirs, "{:.2f}")]]
    shares = ", ".join(f"{share:.2%}" for share in accuracies)
    note = f"MNIST test accuracy of the recipe, seeds 0 to 4: {shares}; mean {mean(accuracies):.2%}"
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    return Report(
        [table(["loop", f"s per epoch, {torch.get_num_threads()} threads"], rows), note],
        [Target("seconds per epoch of the DataLoader / of the recipe", 2, 3, ratios)],
        {"recipe seconds": ours, "data loader seconds": theirs, "accuracies": accuracies},
    )


def _tutorial(digits: mnist.Digits, test: mnist.Digits, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    network = networks.create("net")
    tutorial.fit(TUTORIAL, network, digits, test, seed, Progress(quiet=True))
    return network


def _samples(folder: Path) -> tuple[Dataset, Dataset]:
    """The other side's training set, without the held-out digits, and its test set."""
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


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


if __name__ == "__main__":
    runner.main(runner.parser("tutorial", __doc__, rounds=3, data=True), measure)
