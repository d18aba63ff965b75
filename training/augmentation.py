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
    tiles = ink(tiles, generator)
    return damage(tiles, generator)


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


def damage(tiles: Tensor, generator: Generator) -> Tensor:
    """A quarter of the tiles lose quality: outlines alone, noise, specks, blur, or a line drawn across."""
    damaged = tiles.clone()
    kinds = (outline, noise, specks, blur, line)
    choice = torch.randint(4 * len(kinds), (len(tiles),), generator=generator, device=tiles.device)
    for number, kind in enumerate(kinds):
        chosen = (choice == number).nonzero().flatten()
        damaged[chosen] = kind(tiles[chosen], generator)
    return damaged


def outline(tiles: Tensor, generator: Generator) -> Tensor:
    """The edge of each stroke, as a contour filter or a hollow pen leaves it."""
    dilated = F.max_pool2d(tiles, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-tiles, 3, stride=1, padding=1)
    return (dilated - eroded).clamp_(0, 1)


def noise(tiles: Tensor, generator: Generator) -> Tensor:
    strength = 0.25 * torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    return (tiles + strength * torch.randn(tiles.shape, generator=generator, device=tiles.device)).clamp_(0, 1)


def specks(tiles: Tensor, generator: Generator) -> Tensor:
    """Up to a tenth of the pixels at full ink or none."""
    share = 0.1 * torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    where = torch.rand(tiles.shape, generator=generator, device=tiles.device) < share
    return torch.where(where, torch.rand(tiles.shape, generator=generator, device=tiles.device).round_(), tiles)


def blur(tiles: Tensor, generator: Generator) -> Tensor:
    """Between a mean over 3 and one over 5 pixels, at full ink again."""
    mean = torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    near = F.avg_pool2d(tiles, 3, stride=1, padding=1)
    blurred = near + mean * (F.avg_pool2d(tiles, 5, stride=1, padding=2) - near)
    return blurred / blurred.amax((2, 3), keepdim=True).clamp(min=0.3)


def line(tiles: Tensor, generator: Generator) -> Tensor:
    """A straight stroke about a pixel wide between two random points, ink or erased."""
    device = tiles.device
    ends = torch.rand(len(tiles), 2, 2, generator=generator, device=device) * 28
    steps = torch.arange(28, device=device, dtype=torch.float32)
    start, direction = ends[:, 0], ends[:, 1] - ends[:, 0]
    y, x = steps[None, :, None] - start[:, 0, None, None], steps[None, None, :] - start[:, 1, None, None]
    length = direction.pow(2).sum(1).clamp(min=1)[:, None, None]
    along = ((y * direction[:, 0, None, None] + x * direction[:, 1, None, None]) / length).clamp_(0, 1)
    far = (y - along * direction[:, 0, None, None]).pow(2) + (x - along * direction[:, 1, None, None]).pow(2)
    drawn = (1.4 - far.sqrt()).clamp_(0, 1).unsqueeze(1)
    erase = torch.rand(len(tiles), 1, 1, 1, generator=generator, device=device) < 0.3
    return torch.where(erase, tiles * (1 - drawn), torch.maximum(tiles, drawn))
