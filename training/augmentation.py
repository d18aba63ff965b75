"""Random distortions that leave a digit the digit it is: other hands, other pens, other scanners.

Whole batches at once, on the device of the batch, from the generator given.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def augment(tiles: Tensor, generator: Generator) -> Tensor:
    """Distorts float tiles [N, 1, 28, 28] in 0..1, each in its own way."""
    tiles = warp(tiles, generator)
    tiles = thicken(tiles, generator)
    return ink(tiles, generator)


def warp(tiles: Tensor, generator: Generator) -> Tensor:
    """An affine map and a smooth elastic field (Simard et al. 2003), sampled together, once."""
    count, device = len(tiles), tiles.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    angle = uniform(-1, 1) * math.radians(15)
    shear = uniform(-0.3, 0.3)
    # Width and height vary apart: hands differ most in slant and proportion.
    width, height = uniform(0.8, 1.2), uniform(0.85, 1.15)
    cos, sin = angle.cos(), angle.sin()
    shift = uniform(-1, 1, 2) * (2 * 2.0 / 28)
    rows = torch.stack([cos / width, (shear * cos - sin) / height, shift[:, 0]], 1)
    columns = torch.stack([sin / width, (shear * sin + cos) / height, shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([rows, columns], 1), list(tiles.shape), align_corners=False)

    coarse = torch.randn(count, 2, 6, 6, generator=generator, device=device)
    field = F.interpolate(coarse, size=(28, 28), mode="bicubic", align_corners=True)
    grid += (field * uniform(0.0, 0.07, 1, 1, 1)).permute(0, 2, 3, 1)
    return F.grid_sample(tiles, grid, align_corners=False)


def thicken(tiles: Tensor, generator: Generator) -> Tensor:
    """Moves each tile between its erosion (-1) and its dilation (+1); about half stay nearly as they are."""
    amount = torch.randn(len(tiles), 1, 1, 1, generator=generator, device=tiles.device).mul_(0.35).clamp_(-0.6, 1)
    dilated = F.max_pool2d(tiles, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-tiles, 3, stride=1, padding=1)
    return tiles + amount.clamp(min=0) * (dilated - tiles) + amount.clamp(max=0) * (tiles - eroded)


def ink(tiles: Tensor, generator: Generator) -> Tensor:
    """Sharper or softer edges and paler or fuller ink, as scanners and resampling leave them."""
    count, device = len(tiles), tiles.device
    blurred = F.avg_pool2d(tiles, 3, stride=1, padding=1, count_include_pad=False)
    softness = torch.randn(count, 1, 1, 1, generator=generator, device=device).mul_(0.6).clamp_(-1.5, 1)
    fullness = 1 + 0.15 * torch.randn(count, 1, 1, 1, generator=generator, device=device)
    return ((tiles + softness * (blurred - tiles)) * fullness).clamp_(0, 1)
