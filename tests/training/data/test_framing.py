import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.preprocessing.decode import Picture
from models.preprocessing.normalise import normalise
from training.data.framing import framing, ink_extent
from training.data.mnist import Digits


def cut(planes: torch.Tensor, margin: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """The framed tiles [N, 28, 28]."""
    grid = F.affine_grid(framing(planes, margin, shift), [len(planes), 1, 28, 28], align_corners=False)
    return F.grid_sample(planes[:, None], grid, align_corners=False)[:, 0]


def test_margin_makes_a_digit_smaller_and_shift_moves_it() -> None:
    planes = torch.zeros(3, 40, 40)
    planes[:, 5:25, 10:20] = 1
    tiles = cut(planes, torch.tensor([0.0, 20.0, 0.0]), torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, -2.0]]))
    boxes = []
    for tile in tiles > 0.5:
        down, right = tile.nonzero().unbind(1)
        boxes.append([int(down.min()), int(down.max()) + 1, int(right.min()), int(right.max()) + 1])
    assert boxes[0][1] - boxes[0][0] == 20
    assert boxes[1][1] - boxes[1][0] in (9, 10, 11)
    moved = [after - before for before, after in zip(boxes[0], boxes[2], strict=True)]
    assert moved == pytest.approx([2, 2, -3, -3], abs=1)


def test_a_batch_is_framed_as_normalisation_frames_one_picture(training_digits: Digits) -> None:
    """Digits at three times their size, away from the middle of a plane of 112 pixels."""
    digits = training_digits.images[:50].float()[:, None]
    planes = F.pad(F.interpolate(digits, size=(84, 84), mode="bilinear"), (20, 8, 0, 28))[:, 0].round()
    pictures = [Picture(plane.to(torch.uint8).numpy()) for plane in planes]
    expected = torch.from_numpy(np.stack([normalise(picture).pixels for picture in pictures])) / 255
    found = cut(planes / 255, torch.zeros(50), torch.zeros(50, 2))
    pixels = torch.arange(28.0)
    for axis in (1, 2):
        means = [(tiles.sum(axis) * pixels).sum(1) / tiles.sum((1, 2)) for tiles in (found, expected)]
        # `normalise` moves digits by whole pixels, so that they lie up to half a pixel away from pixel 14.
        assert (means[0] - 14).abs().max() < 0.2
        assert (means[0] - means[1]).abs().max() < 0.7
        lengths = [last - first for first, last in (ink_extent(tiles, axis) for tiles in (found, expected))]
        assert (lengths[0] - lengths[1]).abs().mean() < 0.7
    assert F.cosine_similarity(found.flatten(1), expected.flatten(1)).mean() > 0.95
