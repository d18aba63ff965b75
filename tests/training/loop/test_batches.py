import dataclasses

import pytest
import torch
from torch import Generator, Tensor

from training.data.mnist import Digits
from training.loop import batches
from training.loop.batches import SyntheticTiles, epoch_batches, synthetic_counts
from training.recipes import RECIPES, Stage


class CornerTeachers:
    """Stands in for teachers: the soft targets are the tile's first pixel."""

    def soft_targets(self, tiles: Tensor) -> Tensor:
        return tiles[:, 0, :1, 0].expand(-1, 10)


@pytest.mark.parametrize(("rare_count", "outlier_count"), [(0, 0), (0, 40), (20, 0), (20, 40)])
@pytest.mark.parametrize("teachers", [None, CornerTeachers()])
@pytest.mark.parametrize("at_once", [1, 3])
def test_every_batch_has_its_own_tiles_labels_and_soft_targets(
    teachers: CornerTeachers | None, rare_count: int, outlier_count: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Teachers see tiles that are distorted and not yet damaged. at_once: 3 batches prepared together, as on a GPU."""
    monkeypatch.setattr(batches, "distort", lambda tiles, _, strength: tiles * strength)
    monkeypatch.setattr(batches, "damage", lambda tiles, _, share: tiles * (1 - share))
    stage = Stage(epochs=1, learning_rate=0.1, distorted=0.5, damaged=0.25)
    forms = of_grey_levels(torch.arange(100, 100 + rare_count))
    synthetic = SyntheticTiles(forms, torch.full((outlier_count, 28, 28), 255, dtype=torch.uint8))
    digits, generator = of_grey_levels(torch.arange(70)), Generator().manual_seed(0)
    if at_once == 1:
        found = list(epoch_batches(stage, 20, digits, synthetic, teachers, Generator().manual_seed(0), generator))  # type: ignore[arg-type]
    else:
        found = list(batches._augmented(stage, 20, digits[torch.arange(60)], synthetic, teachers, generator))  # type: ignore[arg-type]
    assert len(found) == 3
    assert len(torch.cat([batch.labels[:20] for batch in found]).unique()) == 60
    for batch in found:
        corners, read = batch.tiles[:, 0, 0, 0], 20 + bool(rare_count)
        assert len(batch.labels) == read
        assert len(corners) == read + (4 if outlier_count else 0)
        assert torch.allclose(255 * corners[:read], 0.375 * batch.labels)
        assert (batch.labels[20:] >= 100).all()
        assert (corners[read:] == 0.375).all()
        assert (batch.soft_targets is None) == (teachers is None)
        if batch.soft_targets is not None:
            assert torch.allclose(255 * batch.soft_targets[:, 3], 0.5 * batch.labels[:20])


def of_grey_levels(labels: Tensor) -> Digits:
    """Each tile is of one grey level, its label."""
    return Digits(labels.to(torch.uint8)[:, None, None].expand(-1, 28, 28).clone(), labels)


def test_a_stage_draws_no_more_synthetic_tiles_than_its_batches_take() -> None:
    recipe = dataclasses.replace(RECIPES["default"], batch_size=100)
    for epochs, forms, outliers, expected in ((1, 100, 300, (60, 200)), (2, 100, 300, (100, 300)), (1, 0, 0, (0, 0))):
        stage = Stage(epochs=epochs, learning_rate=0.1, rare_forms=forms, outliers=outliers)
        assert synthetic_counts(recipe, stage, 1_050) == expected
