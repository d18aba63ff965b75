import dataclasses
from pathlib import Path

import pytest
import torch

from models.errors import DataError
from models.inference import networks
from tests.support.killed import Killed
from training.data.mnist import Digits, split
from training.loop import fit
from training.loop.checkpoint import Checkpoint
from training.progress import Report
from training.recipes import RECIPES

PART = dataclasses.replace(RECIPES["default"].parts[0], epochs=2, forms=100, outliers=300)
RECIPE = dataclasses.replace(RECIPES["default"], network="net", batch_size=64, averaging=0.98, parts=(PART,))


def fitted(digits: Digits, held_out: Digits, seed: int) -> tuple[torch.nn.Module, float]:
    torch.manual_seed(seed)
    network = networks.create("net")
    fit.fit(RECIPE, network, digits, held_out, seed, Report(quiet=True))
    errors, _ = fit._errors_and_loss(network, held_out.images.unsqueeze(1) / 255, held_out.labels)
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


def test_a_part_begins_with_the_best_weights_of_the_one_before(training_digits: Digits) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(2_000)], held_out[torch.arange(1_000)]
    gentle = dataclasses.replace(PART, epochs=1, learning_rate=1e-9, forms=0, outliers=0)
    weights = []
    for parts in ((PART,), (PART, gentle)):
        torch.manual_seed(0)
        network = networks.create("net")
        fit.fit(dataclasses.replace(RECIPE, parts=parts), network, some, few, 0, Report(quiet=True))
        weights.append(network.fc3.weight.detach())
    assert not torch.equal(*weights)
    assert torch.allclose(*weights, atol=1e-6)


def test_what_is_kept_is_the_best_average_and_not_the_last() -> None:
    network = networks.create("net")
    course = fit._Course(RECIPE, PART, network, 640, 0)
    kept = []
    for number, (errors, loss) in enumerate([(5, 0.2), (3, 0.3), (4, 0.1), (3, 0.4), (3, 0.25)]):
        torch.nn.init.constant_(course.average.module.fc3.bias, number)
        course.keep_best(errors, loss)
        kept.append(int(course.best_weights["fc3.bias"][0]))
    assert kept == [0, 1, 1, 1, 4]
    assert course.best == (3, 0.25)


class Oracle:
    """A teacher that answers with what it sees in the corner of a tile."""

    def answers(self, tiles: torch.Tensor) -> torch.Tensor:
        return tiles[:, 0, :1, 0].expand(-1, 10)


@pytest.mark.parametrize(("rare", "strange"), [(0, 0), (0, 40), (20, 0), (20, 40)])
def test_batches_that_are_prepared_together_keep_their_own(
    rare: int, strange: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What teachers answer to is distorted, and not damaged."""
    monkeypatch.setattr(fit, "distort", lambda tiles, _, strength: tiles * strength)
    monkeypatch.setattr(fit, "damage", lambda tiles, _, share: tiles * (1 - share))
    part = dataclasses.replace(PART, distorted=0.5, damaged=0.25)
    recipe = dataclasses.replace(RECIPE, batch_size=20)
    course = fit._Course(recipe, part, networks.create("net"), 60, 0)
    digits, forms = of_their_own_grey(torch.arange(60)), of_their_own_grey(torch.arange(100, 100 + rare))
    drawn = fit.Drawn(forms, torch.full((strange, 28, 28), 255, dtype=torch.uint8))
    forms_a_batch, outliers_a_batch = 1 if rare else 0, 4 if strange else 0
    for taught_by in (None, Oracle()):
        batches = list(fit._batches(part, course, digits, drawn, taught_by))  # type: ignore[arg-type]
        assert torch.equal(torch.cat([batch.labels[:20] for batch in batches]), torch.arange(60))
        for batch in batches:
            corners = batch.tiles[:, 0, 0, 0]
            read = 20 + forms_a_batch
            assert len(batch.labels) == read and len(corners) == read + outliers_a_batch
            assert torch.allclose(255 * corners[:read], 0.375 * batch.labels)
            assert (batch.labels[20:] >= 100).all() and (corners[read:] == 0.375).all()
            assert (batch.answers is None) == (taught_by is None)
            if batch.answers is not None:
                assert torch.allclose(255 * batch.answers[:, 3], 0.5 * batch.labels[:20])


def of_their_own_grey(labels: torch.Tensor) -> Digits:
    return Digits(labels.to(torch.uint8)[:, None, None].expand(-1, 28, 28).clone(), labels)


def test_no_more_is_drawn_for_a_part_than_its_batches_take() -> None:
    recipe = dataclasses.replace(RECIPE, batch_size=100)
    for epochs, forms, outliers, expected in ((1, 100, 300, (60, 200)), (2, 100, 300, (100, 300)), (1, 0, 0, (0, 0))):
        part = dataclasses.replace(PART, epochs=epochs, forms=forms, outliers=outliers)
        assert fit.counts(recipe, part, 1_050) == expected


@pytest.mark.parametrize(("killed_in", "muon"), [(2, 0), (4, 0), (5, 0), (4, 2.5)])
def test_a_run_that_was_cut_short_comes_out_as_if_it_had_not_been(
    killed_in: int, muon: float, training_digits: Digits, tmp_path: Path
) -> None:
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(320)], held_out[torch.arange(200)]
    parts = (dataclasses.replace(PART, epochs=3), PART)
    recipe = dataclasses.replace(RECIPE, network="convnet", parts=parts, muon=muon)
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


def test_a_part_may_be_without_dropout_and_the_next_has_it_again(training_digits: Digits) -> None:
    digits, held_out = split(training_digits)
    parts = tuple(dataclasses.replace(PART, epochs=1, dropout=dropout) for dropout in (True, False, True))
    network = networks.create("convnet")
    dropped, normalised = [], []

    def watch(module: torch.nn.Module, *_: object) -> None:
        if module is network.dropout:  # and not that of the averaged copy
            dropped.append(module.training)
            normalised.append(network.features[1].training)

    network.dropout.register_forward_hook(watch)
    recipe = dataclasses.replace(RECIPE, network="convnet", parts=parts)
    fit.fit(recipe, network, digits[torch.arange(64)], held_out[torch.arange(50)], 0, Report(quiet=True))
    steps = len(dropped) // 3
    assert steps and dropped == [True] * steps + [False] * steps + [True] * steps
    assert all(normalised)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"weights": torch.zeros(3)}, "KeyError: 'epoch'"),
        ({"epoch": "soon"}, "ValueError: invalid literal"),
        ({"epoch": 1, "network": {"fc1.weight": torch.zeros(3, 3)}}, "RuntimeError: Error"),
        ({"epoch": 2, "best_weights": {}}, "RuntimeError: Error"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_stays(
    state: dict[str, object], reason: str, training_digits: Digits, tmp_path: Path
) -> None:
    digits, held_out = split(training_digits)
    checkpoint = Checkpoint(tmp_path / "run.pt", {})
    checkpoint.save(state)
    recipe = dataclasses.replace(RECIPE, parts=(dataclasses.replace(PART, epochs=2), PART))
    with pytest.raises(DataError, match=rf"run.pt does not fit this run \({reason}.*\); remove it to begin anew"):
        fit.fit(recipe, networks.create("net"), digits, held_out, 0, Report(quiet=True), checkpoint)
    assert checkpoint.path.exists()


@pytest.mark.parametrize(("killed_in", "drawn"), [(2, [0, 100]), (4, [100]), (None, [])])
def test_tiles_are_drawn_only_for_a_part_that_has_not_ended(
    killed_in: int | None, drawn: list[int], training_digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the seeds that it is drawn with; None: killed between the last epoch and the version that is saved."""
    digits, held_out = split(training_digits)
    some, few = digits[torch.arange(128)], held_out[torch.arange(50)]
    recipe = dataclasses.replace(RECIPE, parts=(dataclasses.replace(PART, epochs=3), PART))
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

    forms, outliers = fit.rare_forms.bank, fit.outliers.bank
    monkeypatch.setattr(fit.rare_forms, "bank", watched_forms)
    monkeypatch.setattr(fit.outliers, "bank", watched_outliers)
    resumed = networks.create("net")
    fit.fit(recipe, resumed, some, few, 0, Report(quiet=True), checkpoint)
    assert seeds == {"forms": drawn, "outliers": drawn}
    if not killed_in:
        assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in ended.state_dict().items())
