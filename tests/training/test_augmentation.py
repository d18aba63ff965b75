import pytest
import torch

from training import augmentation


def tiles() -> torch.Tensor:
    drawn = torch.zeros(64, 1, 28, 28)
    drawn[:, :, 5:23, 12:16] = 1
    return drawn


def test_the_same_generator_gives_the_same_distortions() -> None:
    first, again, other = (
        augmentation.augment(tiles(), torch.Generator().manual_seed(seed), 1.0, 0.3) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tiles_stay_tiles() -> None:
    result = augmentation.augment(tiles(), torch.Generator().manual_seed(0), 1.0, 0.3)
    assert result.shape == (64, 1, 28, 28)
    assert result.min() >= 0
    assert result.max() <= 1
    assert (result.flatten(1).sum(1) > 10).all()  # no digit is lost


def test_each_tile_is_distorted_in_its_own_way() -> None:
    result = augmentation.augment(tiles(), torch.Generator().manual_seed(0), 1.0, 0.3).flatten(1)
    assert len(result.unique(dim=0)) == 64


@pytest.mark.parametrize("strength, far", [(0.5, 1.3), (1.0, 1.9)])
def test_a_distorted_digit_has_the_size_and_the_place_that_normalisation_gives_it(strength: float, far: float) -> None:
    result = augmentation.warp(tiles(), torch.Generator().manual_seed(0), strength)[:, 0]
    sides = []
    for across in (1, 2):
        mean = (result.sum(across) * torch.arange(28)).sum(1) / result.sum((1, 2))
        assert abs(float(mean.mean()) - 14) < 0.3
        assert (mean - 14).abs().max() < far
        sides.append((result > augmentation.INK).any(across).sum(1))
    longer = torch.maximum(*sides)
    assert abs(float(longer.double().mean()) - 20) < 0.7
    assert (longer - 20).abs().max() <= 2
