import dataclasses
from pathlib import Path

import pytest
import torch

from models.errors import DataError
from models.inference import networks
from tests.support.killed import Killed
from training.data.mnist import Digits, split
from training.loop import batches, fit
from training.loop.checkpoint import Checkpoint
from training.progress import Report
from training.recipes import RECIPES

pytestmark = pytest.mark.processes

STAGE = dataclasses.replace(RECIPES["default"].stages[0], epochs=2, rare_forms=100, outliers=300)
RECIPE = dataclasses.replace(RECIPES["default"], network="net", batch_size=64, averaging=0.98, stages=(STAGE,))


def fitted(digits: Digits, held_out: Digits, seed: int) -> tuple[torch.nn.Module, float]:
    torch.manual_seed(seed)
    network = networks.create("net")
    fit.fit(RECIPE, network, digits, held_out, seed, Report(quiet=True))
    errors, _ = fit.evaluate(network, held_out.images.unsqueeze(1) / 255, held_out.labels)
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


def test_a_stage_starts_from_the_best_weights_of_the_one_before(training_digits: Digits) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(2_000)], held_out[torch.arange(1_000)]
    gentle = dataclasses.replace(STAGE, epochs=1, learning_rate=1e-9, rare_forms=0, outliers=0)
    weights = []
    for stages in ((STAGE,), (STAGE, gentle)):
        torch.manual_seed(0)
        network = networks.create("net")
        fit.fit(dataclasses.replace(RECIPE, stages=stages), network, some, few, 0, Report(quiet=True))
        weights.append(network.fc3.weight.detach())
    assert not torch.equal(*weights)
    assert torch.allclose(*weights, atol=1e-6)


@pytest.mark.parametrize(("killed_in", "muon"), [(2, 0), (4, 0), (5, 0), (4, 2.5)])
def test_a_resumed_run_ends_with_the_weights_of_one_that_was_not_interrupted(
    killed_in: int, muon: float, training_digits: Digits, tmp_path: Path
) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(320)], held_out[torch.arange(200)]
    stages = (dataclasses.replace(STAGE, epochs=3), STAGE)
    recipe = dataclasses.replace(RECIPE, network="convnet", stages=stages, muon=muon)
    weights = []
    for checkpoint, report in (
        (None, Report(quiet=True)),
        (Checkpoint(tmp_path / "run.pt", {}), Killed(f"epoch {killed_in}/")),
        (Checkpoint(tmp_path / "run.pt", {}), Report(quiet=True)),
    ):
        torch.manual_seed(0)
        network = networks.create(recipe.network)
        if isinstance(report, Killed):
            with pytest.raises(KeyboardInterrupt):
                fit.fit(recipe, network, some, few, 0, report, checkpoint)
        else:
            if checkpoint:
                torch.rand(100)
            fit.fit(recipe, network, some, few, 0, report, checkpoint)
            weights.append(network.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_stage_may_switch_dropout_off_and_the_next_has_it_again(training_digits: Digits) -> None:
    digits, held_out = split(training_digits)
    stages = tuple(dataclasses.replace(STAGE, epochs=1, dropout=dropout) for dropout in (True, False, True))
    network = networks.create("convnet")
    dropped, normalised = [], []

    def watch(module: torch.nn.Module, *_: object) -> None:
        if module is network.dropout:  # and not that of the averaged copy
            dropped.append(module.training)
            normalised.append(network.features[1].training)

    network.dropout.register_forward_hook(watch)
    recipe = dataclasses.replace(RECIPE, network="convnet", stages=stages)
    fit.fit(recipe, network, digits[torch.arange(64)], held_out[torch.arange(50)], 0, Report(quiet=True))
    steps = len(dropped) // 3
    assert steps and dropped == [True] * steps + [False] * steps + [True] * steps
    assert all(normalised)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"weights": torch.zeros(3)}, "KeyError: 'epoch'"),
        ({"epoch": "soon"}, "ValueError: invalid literal"),
        ({"epoch": 1}, "KeyError: 'best_weights'"),
        ({"epoch": 2, "best_weights": {}}, "RuntimeError: Error"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_kept(
    state: dict[str, object], reason: str, training_digits: Digits, tmp_path: Path
) -> None:
    digits, held_out = split(training_digits)
    checkpoint = Checkpoint(tmp_path / "run.pt", {})
    checkpoint.save(state)
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(STAGE, epochs=2), STAGE))
    with pytest.raises(DataError, match=rf"run.pt does not fit this run \({reason}.*\); remove it to start again"):
        fit.fit(recipe, networks.create("net"), digits, held_out, 0, Report(quiet=True), checkpoint)
    assert checkpoint.path.exists()


@pytest.mark.parametrize(("killed_in", "drawn"), [(2, [0, 100]), (4, [100]), (None, [])])
def test_tiles_are_drawn_only_for_a_stage_that_has_not_ended(
    killed_in: int | None, drawn: list[int], training_digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """drawn: the seeds of the stages. None: interrupted between the last epoch and the saved version."""
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(128)], held_out[torch.arange(50)]
    recipe = dataclasses.replace(RECIPE, stages=(dataclasses.replace(STAGE, epochs=3), STAGE))
    checkpoint = Checkpoint(tmp_path / "run.pt", {})
    ended = networks.create("net")
    if killed_in:
        with pytest.raises(KeyboardInterrupt):
            fit.fit(recipe, ended, some, few, 0, Killed(f"epoch {killed_in}/"), checkpoint)
    else:
        fit.fit(recipe, ended, some, few, 0, Report(quiet=True), checkpoint)
    seeds: dict[str, list[int]] = {"forms": [], "outliers": []}

    def watched_forms(count: int, seed: int, report: Report) -> Digits:
        seeds["forms"].append(seed)
        return forms(count, seed, report)

    def watched_outliers(digits: Digits, count: int, seed: int, report: Report, processes: int) -> torch.Tensor:
        seeds["outliers"].append(seed)
        return outliers(digits, count, seed, report, processes)

    forms, outliers = batches.rare_forms.bank, batches.outliers.bank
    monkeypatch.setattr(batches.rare_forms, "bank", watched_forms)
    monkeypatch.setattr(batches.outliers, "bank", watched_outliers)
    resumed = networks.create("net")
    fit.fit(recipe, resumed, some, few, 0, Report(quiet=True), checkpoint)
    assert seeds == {"forms": drawn, "outliers": drawn}
    if not killed_in:
        assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in ended.state_dict().items())
