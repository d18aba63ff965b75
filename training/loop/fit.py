"""The training loop behind every recipe but the tutorial: augmented batches, one cycle, averaged weights."""

import copy
from collections.abc import Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.inference.predictor import as_input
from training.data.augment import damage, distort
from training.data.mnist import Digits
from training.data.synthetic import outliers, rare_forms
from training.loop.checkpoint import Checkpoint, RunState
from training.loop.muon import Muon
from training.loop.step import Batch, Gradients
from training.progress import Bar, Report
from training.recipes import Part, Recipe
from training.teachers import Teachers

FORMS_SHARE, OUTLIERS_SHARE = 1 / 16, 1 / 5
"""How many are drawn beside each digit of MNIST."""
AT_ONCE = 32
"""Batches that are prepared together where it is not the processor that does: there each call costs, however small.

They have in common what damage draws once for all: how coarse a raster is, and how many corners a line has.
"""
PART_SEEDS = 100
"""How far apart the seeds of a recipe's parts are."""


def fit(
    recipe: Recipe,
    network: nn.Module,
    digits: Digits,
    held_out: Digits,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
    taught_by: Teachers | None = None,
    processes: int = 1,
) -> None:
    """Trains the network in place, on the device that it is on, and leaves it with the best epoch's averaged weights.

    The best epoch is the one with the fewest errors on the held-out digits, and the smaller loss between equals; each
    part of the recipe has its own, from which the next part begins. With a checkpoint, each epoch's end is saved, and a
    run that was cut short comes out as if it had not been.
    """
    state = checkpoint.load() if checkpoint else None
    done = 0
    if checkpoint and state:
        with checkpoint.going_on():
            done = int(state["epoch"])
        report.line(f"going on after epoch {done} of {checkpoint.path}")
    device = next(network.parameters()).device
    everything = digits.to(device)
    held_out_images, held_out_labels = as_input(held_out.images, device), held_out.labels.to(device)
    last = 0
    for number, part in enumerate(recipe.parts):
        first, last = last + 1, last + part.epochs
        if checkpoint and state and done >= last:
            with checkpoint.going_on():
                network.load_state_dict(state["best_weights"])
            continue
        part_seed = seed + number * PART_SEEDS
        if number:
            torch.manual_seed(part_seed)
        drawn = _drawn(recipe, part, digits, device, part_seed, report, processes)
        course = _Course(recipe, part, network, len(digits), part_seed)
        if checkpoint and state and done >= first:
            with checkpoint.going_on():
                course.load_state_dict(state)
        for epoch in range(max(first, course.epoch + 1), last + 1):
            started = perf_counter()
            with report.bar(f"epoch {epoch}/{recipe.epochs}", course.images) as bar:
                loss = _train(part, course, everything, drawn, taught_by if part.taught else None, bar)
            seconds = perf_counter() - started
            errors, held_out_loss = _errors_and_loss(course.average.module, held_out_images, held_out_labels)
            course.keep_best(errors, held_out_loss)
            report.scores(loss, 1 - errors / len(held_out))
            report.line(
                f"epoch {epoch}/{recipe.epochs}  loss {loss:.4f}  "
                f"held out {1 - errors / len(held_out):.2%} ({errors} wrong, loss {held_out_loss:.4f})  "
                f"{course.images / seconds:,.0f} images/s"
            )
            course.epoch = epoch
            if checkpoint:
                checkpoint.save(course.state_dict())
        network.load_state_dict(course.best_weights)


class Drawn(NamedTuple):
    """What is drawn for a part of a recipe, to be learned beside MNIST's digits: outliers are uint8 [N, 28, 28]."""

    forms: Digits
    outliers: Tensor


def _drawn(
    recipe: Recipe, part: Part, digits: Digits, device: torch.device, seed: int, report: Report, processes: int
) -> Drawn:
    """For one part, on the device."""
    rare, strange = counts(recipe, part, len(digits))
    nothing = digits[torch.arange(0)]
    some_forms = rare_forms.bank(rare, seed, report) if rare else nothing
    some_outliers = outliers.bank(digits, strange, seed, report, processes) if strange else nothing.images
    return Drawn(some_forms.to(device), some_outliers.to(device))


def counts(recipe: Recipe, part: Part, digits: int) -> tuple[int, int]:
    """How many forms and outliers are drawn for a part: no more than its batches take, as drawing takes longer."""
    batches = part.epochs * (digits // recipe.batch_size)
    shares = ((part.forms, FORMS_SHARE), (part.outliers, OUTLIERS_SHARE))
    rare, strange = (min(wanted, batches * int(recipe.batch_size * share)) for wanted, share in shares)
    return rare, strange


def _train(part: Part, course: "_Course", digits: Digits, drawn: Drawn, taught_by: Teachers | None, bar: Bar) -> float:
    """One epoch; the mean loss of its batches."""
    course.network.train()
    if not part.dropout:
        _without_dropout(course.network)
    device = digits.images.device
    total_loss = torch.zeros((), device=device)
    order = torch.randperm(len(digits), generator=course.shuffler).to(device)[: course.images]
    for chosen in order.split(course.batch_size * (1 if device.type == "cpu" else AT_ONCE)):
        for batch in _batches(part, course, digits[chosen], drawn, taught_by):
            total_loss += course.step(batch)
            bar.advance(course.batch_size)
    return total_loss.item() * course.batch_size / course.images


def _without_dropout(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()


def _batches(
    part: Part, course: "_Course", digits: Digits, drawn: Drawn, taught_by: Teachers | None
) -> Iterator[Batch]:
    """Batches of these digits, each with its forms and outliers; all are distorted, damaged and answered together."""
    count = len(digits) // course.batch_size

    def some(tiles: Tensor, share: float) -> Tensor:
        """Indices of so many of the tiles for each batch."""
        number = int(course.batch_size * share) if len(tiles) else 0
        indices: Tensor = draw(tiles, count * number, course.generator).unflatten(0, (count, number))
        return indices

    rare = drawn.forms[some(drawn.forms.images, FORMS_SHARE)]
    strange = drawn.outliers[some(drawn.outliers, OUTLIERS_SHARE)]
    images = torch.cat([digits.images.unflatten(0, (count, -1)), rare.images, strange], dim=1)
    labels = torch.cat([digits.labels.unflatten(0, (count, -1)), rare.labels], dim=1)
    tiles = distort(as_input(images.flatten(0, 1)), course.generator, part.distorted)
    answers: Sequence[Tensor | None] = [None] * count
    if taught_by:  # they see it before it is damaged
        seen = tiles.unflatten(0, (count, -1))[:, : course.batch_size].flatten(0, 1)
        answers = taught_by.answers(seen).split(course.batch_size)
    tiles = damage(tiles, course.generator, part.damaged).contiguous(memory_format=torch.channels_last)
    yield from map(Batch, tiles.split(images.shape[1]), labels, answers)


class _Course:
    """Everything that changes from step to step in one part of a recipe.

    epoch: the last one that is done, in the whole recipe; images: in an epoch.
    """

    def __init__(self, recipe: Recipe, part: Part, network: nn.Module, images: int, seed: int) -> None:
        batches = images // recipe.batch_size  # the last, smaller batch would disturb batch normalisation
        device = next(network.parameters()).device
        self.epoch = 0
        self.batch_size = recipe.batch_size
        self.images = batches * recipe.batch_size
        self.network = network.to(memory_format=torch.channels_last)
        self.gradients = Gradients(self.network)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True)
        kernels, others = _kernels_and_others(network) if recipe.muon else ([], list(network.parameters()))
        adam = torch.optim.AdamW(others, lr=part.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        cycle = partial(OneCycleLR, total_steps=part.epochs * batches, pct_start=0.15)
        self.optimizers: list[torch.optim.Optimizer] = [adam]
        self.schedules = [cycle(adam, part.learning_rate)]
        if kernels:
            muon = Muon(kernels, lr=recipe.muon * part.learning_rate)
            self.optimizers.append(muon)
            self.schedules.append(cycle(muon, recipe.muon * part.learning_rate, cycle_momentum=False))
        self.shuffler = torch.Generator().manual_seed(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.best: tuple[int, float] | None = None
        self.best_weights: dict[str, Tensor] = {}

    def step(self, batch: Batch) -> Tensor:
        """The loss before it."""
        loss = self.gradients.of(batch)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        self.average.update_parameters(self.network)
        return loss

    def keep_best(self, errors: int, loss: float) -> None:
        if self.best is None or (errors, loss) < self.best:
            self.best = (errors, loss)
            self.best_weights = copy.deepcopy(self.average.module.state_dict())

    def state_dict(self) -> RunState:
        device = self.generator.device
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
            "shuffler": self.shuffler.get_state(),
            "generator": self.generator.get_state(),
            "dropout": torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state(),
            "best": self.best,
            "best_weights": self.best_weights,
        }

    def load_state_dict(self, state: RunState) -> None:
        device = self.generator.device
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        self.shuffler.set_state(state["shuffler"])
        self.generator.set_state(state["generator"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(state["dropout"], device)
        else:
            torch.set_rng_state(state["dropout"])
        self.best, self.best_weights = state["best"], state["best_weights"]


def _kernels_and_others(network: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The kernels of all convolutions but those that see the tile itself, and all other parameters."""
    kernels = [parameter for parameter in network.parameters() if parameter.ndim == 4 and parameter.shape[1] > 1]
    known = set(map(id, kernels))
    return kernels, [parameter for parameter in network.parameters() if id(parameter) not in known]


def draw(tiles: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Random indices [count] of tiles, with replacement."""
    return torch.randint(max(len(tiles), 1), (count,), generator=generator, device=tiles.device)


def _errors_and_loss(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[int, float]:
    network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(part) for part in images.split(500)])
        return int((logits.argmax(1) != labels).sum()), F.cross_entropy(logits, labels).item()
