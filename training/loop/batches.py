"""Augmented batches: MNIST's digits, and beside them synthetic digits of rare forms and outliers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from models.inference.networks import as_input
from training.data.augment import damage, distort
from training.data.mnist import Digits
from training.data.synthetic import outliers, rare_forms
from training.distillation import Teachers
from training.loop.step import Batch
from training.progress import Report
from training.recipes import Recipe, Stage

RARE_FORMS_SHARE, OUTLIERS_SHARE = 1 / 16, 1 / 5
"""Synthetic tiles in a batch, for each digit of MNIST."""
BATCHES_AT_ONCE = 32
"""Batches that a GPU prepares together, because each call costs time, however small the batch.

They share what `damage` draws once a call: how coarse a raster is, and how many corners a line has.
"""


class SyntheticTiles(NamedTuple):
    """What is drawn for one stage; outliers are uint8 [N, 28, 28]."""

    rare_forms: Digits
    outliers: Tensor

    def to(self, device: torch.device) -> "SyntheticTiles":
        return SyntheticTiles(self.rare_forms.to(device), self.outliers.to(device))


def synthetic_counts(recipe: Recipe, stage: Stage, digits: int) -> tuple[int, int]:
    """How many rare forms and outliers a stage draws: no more than its batches take, as drawing is slow."""
    batches = stage.epochs * (digits // recipe.batch_size)
    return (
        min(stage.rare_forms, batches * int(recipe.batch_size * RARE_FORMS_SHARE)),
        min(stage.outliers, batches * int(recipe.batch_size * OUTLIERS_SHARE)),
    )


def draw_synthetic(
    recipe: Recipe, stage: Stage, digits: Digits, seed: int, report: Report, processes: int
) -> SyntheticTiles:
    rare_count, outlier_count = synthetic_counts(recipe, stage, len(digits))
    none = digits[torch.arange(0)]
    return SyntheticTiles(
        rare_forms.bank(rare_count, seed, report) if rare_count else none,
        outliers.bank(digits, outlier_count, seed, report, processes) if outlier_count else none.images,
    )


def epoch_batches(
    stage: Stage,
    size: int,
    digits: Digits,
    synthetic: SyntheticTiles,
    teachers: Teachers | None,
    shuffler: Generator,
    generator: Generator,
) -> Iterator[Batch]:
    """One pass over the digits in random order, in batches of `size` digits and the synthetic tiles beside them.

    The last, smaller batch is dropped, as it would disturb batch normalisation. shuffler: on the CPU; generator: on
    the device of the digits, for all other random draws.
    """
    device = digits.images.device
    whole = len(digits) // size * size
    order = torch.randperm(len(digits), generator=shuffler).to(device)[:whole]
    for chosen in order.split(size * (1 if device.type == "cpu" else BATCHES_AT_ONCE)):
        yield from _augmented(stage, size, digits[chosen], synthetic, teachers, generator)


def _augmented(
    stage: Stage, size: int, digits: Digits, synthetic: SyntheticTiles, teachers: Teachers | None, generator: Generator
) -> Iterator[Batch]:
    """Batches of these digits, augmented together."""
    count = len(digits) // size

    def sample(tiles: Tensor, share: float) -> Tensor:
        """Random indices [count, M] of tiles."""
        number = int(size * share) if len(tiles) else 0
        indices: Tensor = sample_indices(tiles, count * number, generator).unflatten(0, (count, number))
        return indices

    rare = synthetic.rare_forms[sample(synthetic.rare_forms.images, RARE_FORMS_SHARE)]
    no_digits = synthetic.outliers[sample(synthetic.outliers, OUTLIERS_SHARE)]
    images = torch.cat([digits.images.unflatten(0, (count, -1)), rare.images, no_digits], dim=1)
    labels = torch.cat([digits.labels.unflatten(0, (count, -1)), rare.labels], dim=1)
    tiles = distort(as_input(images.flatten(0, 1)), generator, stage.distorted)
    soft_targets: Sequence[Tensor | None] = [None] * count
    if teachers:  # they see tiles before damage, and MNIST's digits alone
        undamaged = tiles.unflatten(0, (count, -1))[:, :size].flatten(0, 1)
        soft_targets = teachers.soft_targets(undamaged).split(size)
    tiles = damage(tiles, generator, stage.damaged).contiguous(memory_format=torch.channels_last)
    yield from map(Batch, tiles.split(images.shape[1]), labels, soft_targets)


def sample_indices(tiles: Tensor, count: int, generator: Generator) -> Tensor:
    """Random indices [count] of tiles, with replacement."""
    return torch.randint(max(len(tiles), 1), (count,), generator=generator, device=tiles.device)
