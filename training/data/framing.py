"""MNIST's framing for whole batches: a digit's longer side becomes 20 pixels, its centre of mass the tile's centre.

models.preprocessing.normalise does the same for one picture, with NumPy.
"""

import torch
from torch import Tensor

from models.preprocessing.normalise import DIGIT_BOX, TILE_SIDE

INK = 0.1
"""Grey level above which a pixel counts as ink when a digit is measured."""
SMALLEST_SIDE = 4
"""Pixels; a smaller digit is not enlarged further."""


def framing(planes: Tensor, margin: Tensor, shift: Tensor) -> Tensor:
    """Affine maps [N, 2, 3] for `affine_grid` that cut the framed tile [28, 28] out of each plane.

    planes: float [N, S, S], one digit each, ink 1 on 0. margin: [N], pixels of the plane by which the box around the
    digit's longer side is larger than the digit. shift: [N, 2], pixels of the tile (right, down) from pixel 14, where
    MNIST has the centre of mass, to where it is put.
    """
    side = planes.shape[-1]
    pixels = torch.arange(float(side), device=planes.device)
    sides, centres = [], []
    mass = planes.sum((1, 2)).clamp(min=1e-6)
    for axis in (1, 2):
        first, last = ink_extent(planes, axis)
        sides.append(last - first + 1)
        centres.append((planes.sum(axis) * pixels).sum(1) / mass)
    scale = (torch.maximum(*sides).clamp(min=SMALLEST_SIDE) + margin) / DIGIT_BOX
    # Pixel 14 of a tile lies half a pixel right of its middle, which is 0 for `affine_grid`.
    right, down = (
        (2 * (centre + scale * (off - 0.5)) + 1) / side - 1 for centre, off in zip(centres, shift.T, strict=True)
    )
    size, zero = scale * (TILE_SIDE / side), torch.zeros_like(scale)
    return torch.stack([torch.stack([size, zero, right], 1), torch.stack([zero, size, down], 1)], 1)


def ink_extent(planes: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """First and last pixel with ink, [N] each, of planes [N, S, S] projected along an axis; S and -1 without ink."""
    side = planes.shape[-1]
    pixels = torch.arange(float(side), device=planes.device)
    inked = (planes > INK).any(axis)
    return pixels.where(inked, side).amin(1), pixels.where(inked, -1).amax(1)
