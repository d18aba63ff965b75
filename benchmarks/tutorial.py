"""The recipe `tutorial` against the loop of every introduction: seconds per epoch, and test accuracy.

Both sides train the same network on the same 55,000 digits with the same optimiser settings and test it, in turn, with
one seed for each round. The other side is a DataLoader (num_workers=0) over torchvision's MNIST with ToTensor(). The
accuracy is that of the recipe on the MNIST test set, by which nothing is chosen.
"""

import argparse
from pathlib import Path
from statistics import mean
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from app.settings import Settings
from benchmarks import runner
from benchmarks.machine import say
from benchmarks.runner import Report
from benchmarks.tables import Target, spread, table
from models.inference import networks
from models.inference.networks import as_input
from training.data import mnist
from training.data.mnist import Digits
from training.loop import tutorial
from training.progress import Report as Progress
from training.recipes import TUTORIAL


def measure(options: argparse.Namespace) -> Report:
    digits, _ = mnist.split(mnist.training_set(options.data, Settings().download))
    test = mnist.test_set(options.data, Settings().download)
    samples = _samples(options.data)
    ours, theirs, shares = [], [], []
    for seed in range(options.rounds):
        torch.manual_seed(seed)
        network = networks.create("net")
        started = perf_counter()
        tutorial.fit(TUTORIAL, network, digits, test, seed, Progress(quiet=True))
        ours.append(perf_counter() - started)
        shares.append(accuracy(network, test))
        started = perf_counter()
        _data_loader(networks.create("net"), *samples)
        theirs.append(perf_counter() - started)
        say(f"round {seed + 1} of {options.rounds}: {ours[-1]:.2f} s and {theirs[-1]:.2f} s, {shares[-1]:.2%}")
    rows = [["recipe `tutorial`", spread(ours, "{:.2f}")], ["DataLoader and ToTensor", spread(theirs, "{:.2f}")]]
    found = ", ".join(f"{share:.2%}" for share in shares)
    note = f"MNIST test accuracy of the recipe, by seed from 0: {found}; mean {mean(shares):.2%}"
    ratios = [slow / fast for slow, fast in zip(theirs, ours, strict=True)]
    return Report(
        [table(["loop", f"s per epoch, {torch.get_num_threads()} threads"], rows), note],
        [Target("seconds per epoch of the DataLoader / of the recipe", 2, 3, ratios)],
        {"recipe seconds": ours, "data loader seconds": theirs, "accuracies": shares},
    )


def accuracy(network: nn.Module, digits: Digits) -> float:
    """The share of the digits that the network reads correctly, on its own device."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        return float((network(as_input(digits.images, device)).argmax(1).cpu() == digits.labels).double().mean())


def _samples(folder: Path) -> tuple[Dataset, Dataset]:
    """The other side's training set, without the held-out digits, and its test set."""
    held_out = set(mnist.held_out_indices().tolist())
    chosen = [index for index in range(60_000) if index not in held_out]
    train = Subset(MNIST(str(folder), train=True, transform=ToTensor()), chosen)
    return train, MNIST(str(folder), train=False, transform=ToTensor())


def _data_loader(network: nn.Module, train: Dataset, test: Dataset) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.002)
    for images, labels in DataLoader(train, batch_size=64, shuffle=True, num_workers=0):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.inference_mode():
        sum(int((network(images).argmax(1) == labels).sum()) for images, labels in DataLoader(test, batch_size=64))


if __name__ == "__main__":
    runner.main(runner.parser("tutorial", __doc__, rounds=5, data=True), measure)
