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


def test_the_middle_stays_near_the_middle() -> None:
    result = augmentation.warp(tiles(), torch.Generator().manual_seed(0))
    rows = (result.sum(3) * torch.arange(28)).sum((1, 2)) / result.sum((1, 2, 3))
    assert abs(float(rows.mean()) - 13.5) < 0.5
    assert (rows - 13.5).abs().max() < 4
