import dataclasses

import torch

from models import networks
from training import fitting
from training.mnist import Digits, split
from training.progress import Report
from training.recipes import RECIPES

RECIPE = dataclasses.replace(RECIPES["default"], network="net", epochs=2, batch_size=64, outliers=300)


def fitted(digits: Digits, held_out: Digits, seed: int) -> tuple[torch.nn.Module, float]:
    torch.manual_seed(seed)
    network = networks.create("net")
    fitting.fit(RECIPE, network, digits, held_out, seed, Report(quiet=True))
    errors, _ = fitting._errors_and_loss(network, held_out.images.unsqueeze(1) / 255, held_out.labels)
    return network, 1 - errors / len(held_out)


def test_a_short_run_learns_and_repeats_itself(training_digits: Digits) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(12_000)], held_out[torch.arange(1_000)]
    first, accuracy = fitted(some, few, seed=0)
    assert accuracy > 0.85
    again, _ = fitted(some, few, seed=0)
    other, _ = fitted(some, few, seed=1)
    assert torch.equal(first.fc3.weight, again.fc3.weight)
    assert not torch.equal(first.fc3.weight, other.fc3.weight)
