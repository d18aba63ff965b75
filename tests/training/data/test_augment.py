from collections.abc import Callable

import pytest
import torch

from training.data import augment
from training.data.framing import INK


def tiles() -> torch.Tensor:
    drawn = torch.zeros(64, 1, 28, 28)
    drawn[:, :, 5:23, 12:16] = 1
    return drawn


def test_the_same_generator_gives_the_same_distortions() -> None:
    first, again, other = (
        augment.augment(tiles(), torch.Generator().manual_seed(seed), 1.0, 0.3) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmented_tiles_keep_shape_range_and_ink() -> None:
    result = augment.augment(tiles(), torch.Generator().manual_seed(0), 1.0, 0.3)
    assert result.shape == (64, 1, 28, 28)
    assert result.min() >= 0
    assert result.max() <= 1
    assert (result.flatten(1).sum(1) > 10).all()  # no digit vanishes


def test_each_tile_is_distorted_in_its_own_way() -> None:
    result = augment.augment(tiles(), torch.Generator().manual_seed(0), 1.0, 0.3).flatten(1)
    assert len(result.unique(dim=0)) == 64


@pytest.mark.parametrize("strength, far", [(0.5, 1.3), (1.0, 1.9)])
def test_a_distorted_digit_has_the_size_and_the_place_that_normalisation_gives_it(strength: float, far: float) -> None:
    result = augment.warp(tiles(), torch.Generator().manual_seed(0), strength)[:, 0]
    sides = []
    for across in (1, 2):
        mean = (result.sum(across) * torch.arange(28)).sum(1) / result.sum((1, 2))
        assert abs(float(mean.mean()) - 14) < 0.3
        assert (mean - 14).abs().max() < far
        sides.append((result > INK).any(across).sum(1))
    longer = torch.maximum(*sides)
    assert abs(float(longer.double().mean()) - 20) < 0.7
    assert (longer - 20).abs().max() <= 2


@pytest.mark.parametrize("way", dict.fromkeys(augment.DAMAGE), ids=lambda way: way.__name__)
def test_damage_changes_a_digit_and_leaves_it_recognisable(way: Callable[..., torch.Tensor]) -> None:
    whole = tiles()
    damaged, again, other = (way(whole, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(damaged, again) and not torch.equal(damaged, other)
    assert torch.equal(whole, tiles())  # what was given stays
    assert damaged.shape == whole.shape
    assert damaged.min() >= 0 and damaged.max() <= 1
    changed = (damaged - whole).abs().flatten(1).sum(1)
    assert (changed > 1).float().mean() > 0.8
    around = torch.nn.functional.max_pool2d(whole, 3, stride=1, padding=1)  # an outline lies outside the stroke
    likeness = torch.nn.functional.cosine_similarity(damaged.flatten(1), around.flatten(1))
    assert likeness.min() > 0.4 and likeness.mean() > 0.6


@pytest.mark.parametrize("change", [augment.thicken, augment.ink])
def test_pens_differ_more_at_a_higher_strength(change: Callable[..., torch.Tensor]) -> None:
    whole = tiles()
    little, much = (
        (change(whole, torch.Generator().manual_seed(0), strength) - whole).abs().mean() for strength in (0.2, 1.0)
    )
    assert 0 < little < much
    widths = change(whole, torch.Generator().manual_seed(0)).flatten(1).sum(1)
    assert widths.min() < whole[0].sum() < widths.max()  # bolder and finer, fuller and paler


def test_each_way_of_damage_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = len(augment.DAMAGE)
    stubs = [lambda tiles, _, number=number: torch.full_like(tiles, number) for number in range(1, ways + 1)]
    monkeypatch.setattr(augment, "DAMAGE", stubs)
    tiles = torch.zeros(26_000, 1, 28, 28)
    damaged = augment.damage(tiles, torch.Generator().manual_seed(0), 0.1)
    counts = damaged[:, 0, 0, 0].long().bincount(minlength=ways + 1)[1:]
    assert torch.allclose(counts.float(), torch.tensor(2_600 / ways), rtol=0.3)
    assert counts.sum().item() == pytest.approx(2_600, rel=0.08)
    assert torch.equal(augment.damage(tiles, torch.Generator(), 0), tiles)


def test_an_underlined_digit_is_framed_on_a_line_longer_than_it_is_wide() -> None:
    result = augment.underlined(tiles(), torch.Generator().manual_seed(0))[:, 0]
    inked = result > INK
    assert torch.maximum(inked.any(1).sum(1), inked.any(2).sum(1)).sub(20).abs().max() <= 2
    rows = torch.arange(28).where(inked.any(2), -1).amax(1)
    line = torch.stack([tile[row - 3 : row + 1] for tile, row in zip(inked, rows, strict=True)]).any(1).sum(1)
    stroke = inked[:, 10].sum(1)
    assert (line >= stroke).all()
    assert line.double().mean() > 1.8 * stroke.double().mean()
    assert result.min() >= 0 and result.max() <= 1
