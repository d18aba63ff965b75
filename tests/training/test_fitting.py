import dataclasses
from pathlib import Path

import pytest
import torch

from models import networks
from training import fitting
from training.checkpoint import Checkpoint
from training.mnist import Digits, split
from training.progress import Report
from training.recipes import RECIPES

RECIPE = dataclasses.replace(RECIPES["default"], network="net", epochs=2, batch_size=64, averaging=0.98, outliers=300)


def fitted(digits: Digits, held_out: Digits, seed: int) -> tuple[torch.nn.Module, float]:
    torch.manual_seed(seed)
    network = networks.create("net")
    fitting.fit(RECIPE, network, digits, held_out, seed, Report(quiet=True))
    errors, _ = fitting._errors_and_loss(network, held_out.images.unsqueeze(1) / 255, held_out.labels)
    return network, 1 - errors / len(held_out)


def test_a_short_run_learns_and_repeats_itself(training_digits: Digits) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(5_000)], held_out[torch.arange(1_000)]
    first, accuracy = fitted(some, few, seed=0)
    assert accuracy > 0.85
    again, _ = fitted(some, few, seed=0)
    other, _ = fitted(some, few, seed=1)
    assert torch.equal(first.fc3.weight, again.fc3.weight)
    assert not torch.equal(first.fc3.weight, other.fc3.weight)


class Killed(Report):
    """Ends the process's work when the second epoch is reported, before that epoch is saved."""

    def line(self, text: str) -> None:
        if text.startswith("epoch 2"):
            raise KeyboardInterrupt


def test_a_run_that_was_cut_short_comes_out_as_if_it_had_not_been(training_digits: Digits, tmp_path: Path) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(320)], held_out[torch.arange(200)]
    recipe = dataclasses.replace(RECIPE, network="convnet", epochs=3)
    weights = []
    for checkpoint, report in (
        (None, Report(quiet=True)),
        (Checkpoint(tmp_path / "run.pt", {}), Killed(quiet=True)),
        (Checkpoint(tmp_path / "run.pt", {}), Report(quiet=True)),
    ):
        torch.manual_seed(0)
        network = networks.create(recipe.network)
        if isinstance(report, Killed):
            with pytest.raises(KeyboardInterrupt):
                fitting.fit(recipe, network, some, few, 0, report, checkpoint)
            torch.rand(100)
        else:
            fitting.fit(recipe, network, some, few, 0, report, checkpoint)
            weights.append(network.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
