"""Random distortions that leave a digit the digit it is: other hands, other pens, other scanners.

Tiles are float32 [N, 1, 28, 28] in 0..1: whole batches at once, on their device, from the generator given.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from models.preprocessing.normalise import TILE_SIDE
from training.data.framing import framing, ink_extent

WIDE = 40
"""Pixels on a side of the plane that distorted digits are measured on, where none is cut off."""


def augment(tiles: Tensor, generator: Generator, distorted: float, damaged: float) -> Tensor:
    """Distorts float tiles [N, 1, 28, 28] in 0..1, each in its own way.

    distorted: how far, 1 as far as hands and pens differ; damaged: the share that loses quality as well.
    """
    return damage(distort(tiles, generator, distorted), generator, damaged)


def distort(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Another hand and another pen."""
    tiles = warp(tiles, generator, strength)
    tiles = thicken(tiles, generator, strength)
    return ink(tiles, generator, strength)


def warp(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """An affine map and a smooth elastic field (Simard et al. 2003), put back in frame as any picture would be.

    What is out of place or of another size never reaches a network, and need not be learned, but for the little that
    normalisation leaves.
    """
    count, device, uniform = len(tiles), tiles.device, _uniform(tiles, generator)
    angle = uniform(-1, 1) * math.radians(15) * strength
    shear = uniform(-0.3, 0.3) * strength
    # Width and height vary apart: hands differ most in slant and proportion.
    width, height = 1 + uniform(-0.2, 0.2) * strength, 1 + uniform(-0.15, 0.15) * strength
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = torch.stack([cos / width, (shear * cos - sin) / height, none], 1)
    columns = torch.stack([sin / width, (shear * sin + cos) / height, none], 1)
    wide = torch.stack([rows, columns], 1) * (WIDE / TILE_SIDE)
    grid = F.affine_grid(wide, [count, 1, WIDE, WIDE], align_corners=False)
    coarse = torch.randn(count, 2, 6, 6, generator=generator, device=device)
    field = F.interpolate(coarse, size=(WIDE, WIDE), mode="bicubic", align_corners=True)
    grid += (field * uniform(0.0, 0.07 * strength, 1, 1, 1)).permute(0, 2, 3, 1)

    spare = uniform(-1, 1) * (0.3 + 0.7 * strength)
    place = uniform(-1, 1, 2) * (0.5 + strength)
    frame = framing(F.grid_sample(tiles, grid, align_corners=False)[:, 0], spare, place)
    inner = F.affine_grid(frame, list(tiles.shape), align_corners=False).clamp(1 / WIDE - 1, 1 - 1 / WIDE)
    framed = F.grid_sample(grid.permute(0, 3, 1, 2), inner, align_corners=False)
    return F.grid_sample(tiles, framed.permute(0, 2, 3, 1), align_corners=False)


def _uniform(tiles: Tensor, generator: Generator) -> Callable[..., Tensor]:
    """Draws [N, *shape] between two numbers: for each tile its own."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(tiles), *shape, generator=generator, device=tiles.device)

    return uniform


def thicken(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Moves each tile between its erosion (-1) and its dilation (+1); about half stay nearly as they are."""
    amount = torch.randn(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    amount = amount.mul_(0.35 * strength).clamp_(-0.6, 1)
    dilated = F.max_pool2d(tiles, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-tiles, 3, stride=1, padding=1)
    return tiles + amount.clamp(min=0) * (dilated - tiles) + amount.clamp(max=0) * (tiles - eroded)


def ink(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Sharper or softer edges and paler or fuller ink, as scanners and resampling leave them."""
    count, device = len(tiles), tiles.device
    blurred = F.avg_pool2d(tiles, 3, stride=1, padding=1, count_include_pad=False)
    softness = torch.randn(count, 1, 1, 1, generator=generator, device=device).mul_(0.6 * strength).clamp_(-1.5, 1)
    fullness = 1 + 0.15 * strength * torch.randn(count, 1, 1, 1, generator=generator, device=device)
    return ((tiles + softness * (blurred - tiles)) * fullness).clamp_(0, 1)


def damage(tiles: Tensor, generator: Generator, share: float) -> Tensor:
    """That share of the tiles loses quality, each in one of the ways of DAMAGE."""
    if not share:
        return tiles
    damaged = tiles.clone()
    choice = torch.randint(round(len(DAMAGE) / share), (len(tiles),), generator=generator, device=tiles.device)
    for number, kind in enumerate(DAMAGE):
        chosen = (choice == number).nonzero().flatten()
        if len(chosen):
            damaged[chosen] = kind(tiles[chosen], generator)
    return damaged


def outline(tiles: Tensor, generator: Generator) -> Tensor:
    """The edge of each stroke, outside or on both sides of it, as a contour filter or a hollow pen leaves it."""
    dilated = F.max_pool2d(tiles, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-tiles, 3, stride=1, padding=1)
    thin = torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device) < 0.5
    edge = dilated - torch.where(thin, tiles, eroded)
    hard = torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device) < 0.5
    return torch.where(hard, (edge > 0.5 * edge.amax((2, 3), keepdim=True)).to(edge.dtype), edge).clamp_(0, 1)


def noise(tiles: Tensor, generator: Generator) -> Tensor:
    """Normal, of a deviation up to 0.3, different for each tile."""
    strength = 0.3 * torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    return (tiles + strength * torch.randn(tiles.shape, generator=generator, device=tiles.device)).clamp_(0, 1)


def specks(tiles: Tensor, generator: Generator) -> Tensor:
    """Up to a fifth of the pixels at full ink or none."""
    share = 0.2 * torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    where = torch.rand(tiles.shape, generator=generator, device=tiles.device) < share
    return torch.where(where, torch.rand(tiles.shape, generator=generator, device=tiles.device).round_(), tiles)


def blur(tiles: Tensor, generator: Generator) -> Tensor:
    """Between a mean over 3 and one over 5 pixels, at full ink again."""
    mean = torch.rand(len(tiles), 1, 1, 1, generator=generator, device=tiles.device)
    near = F.avg_pool2d(tiles, 3, stride=1, padding=1)
    blurred = near + mean * (F.avg_pool2d(tiles, 5, stride=1, padding=2) - near)
    return blurred / blurred.amax((2, 3), keepdim=True).clamp(min=0.3)


def shaken(tiles: Tensor, generator: Generator) -> Tensor:
    """Each pixel comes from a random place up to two pixels away, as behind ribbed glass; soft afterwards."""
    count, device = len(tiles), tiles.device
    identity = torch.eye(2, 3, device=device).expand(count, 2, 3)
    reach = 2 * 2 / 28 * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    offsets = 2 * torch.rand(count, 28, 28, 2, generator=generator, device=device) - 1
    grid = F.affine_grid(identity, list(tiles.shape), align_corners=False) + reach * offsets
    moved = F.grid_sample(tiles, grid, align_corners=False)
    return F.avg_pool2d(moved, 3, stride=1, padding=1, count_include_pad=False)


def coarse(tiles: Tensor, generator: Generator) -> Tensor:
    """Through a raster of 10 to 20 pixels and back, as a small scan has it."""
    side = int(torch.randint(10, 21, (1,), generator=generator, device=tiles.device))
    small = F.interpolate(tiles, size=(side, side), mode="area")
    return F.interpolate(small, size=(28, 28), mode="bicubic", align_corners=False).clamp_(0, 1)


def stains(tiles: Tensor, generator: Generator) -> Tensor:
    """Blots of any grey, which cover the ink as well as the ground."""
    count, device = len(tiles), tiles.device
    field = torch.randn(count, 1, 14, 14, generator=generator, device=device)
    field = F.interpolate(field, size=(28, 28), mode="bilinear", align_corners=False)
    level = 0.7 + 0.7 * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    cover = (4 * (field - level)).clamp_(0, 1) * torch.rand(count, 1, 1, 1, generator=generator, device=device)
    return tiles + cover * (torch.rand(count, 1, 1, 1, generator=generator, device=device) - tiles)


def veil(tiles: Tensor, generator: Generator) -> Tensor:
    """Ink that fades in places, over a ground that is not quite clean."""
    count, device = len(tiles), tiles.device
    fields = torch.rand(count, 2, 4, 4, generator=generator, device=device)
    fading, dirt = F.interpolate(fields, size=(28, 28), mode="bicubic", align_corners=True).split(1, dim=1)
    veiled: Tensor = tiles * (0.2 + 1.2 * fading).clamp(min=0.3) + 0.5 * (dirt - 0.6).clamp(min=0)
    return veiled.clamp_(0, 1)


def line(tiles: Tensor, generator: Generator) -> Tensor:
    """A crooked stroke of up to eight pieces, ink or erased; with it the tile may have become smaller.

    What is drawn across a digit is measured with it when the picture is brought to the tile's size.
    """
    device, uniform = tiles.device, _uniform(tiles, generator)
    corners = int(torch.randint(2, 10, (1,), generator=generator, device=device))
    start, end = uniform(0, 28, 1, 2), uniform(0, 28, 1, 2)
    along = torch.linspace(0, 1, corners, device=device)[None, :, None]
    points = start + along * (end - start) + uniform(-4, 4, corners, 2) * float(corners > 2)
    drawn = torch.zeros_like(tiles)
    for piece in range(corners - 1):
        drawn = torch.maximum(drawn, _segment(points[:, piece], points[:, piece + 1]))
    dotted = uniform(0, 1, 1, 1, 1) < 0.3
    drawn = torch.where(dotted, drawn * (uniform(0, 1, 1, 28, 28) < 0.5), drawn)
    erase = uniform(0, 1, 1, 1, 1) < 0.2
    crossed = torch.where(erase, tiles * (1 - drawn), torch.maximum(tiles, drawn))
    scale = 1 / uniform(0.7, 1.0, 1, 1)
    grid = F.affine_grid(scale * torch.eye(2, 3, device=device), list(tiles.shape), align_corners=False)
    return F.grid_sample(crossed, grid, align_corners=False)


def underlined(tiles: Tensor, generator: Generator) -> Tensor:
    """On a line to write on, or with the foot that the line seems to be: brought to the tile's size with it."""
    uniform = _uniform(tiles, generator)
    planes = F.pad(tiles, [(WIDE - TILE_SIDE) // 2] * 4)
    _, foot = ink_extent(planes[:, 0], 2)
    left, right = ink_extent(planes[:, 0], 1)
    height, beyond = foot + uniform(-1, 2), uniform(0, 7, 2)
    start = torch.stack([height + uniform(-1, 1), left - beyond[:, 0]], 1)
    end = torch.stack([height + uniform(-1, 1), right + beyond[:, 1]], 1)
    line = uniform(0.5, 1, 1, 1, 1) * _segment(start, end, WIDE, uniform(0.3, 1, 1, 1, 1))
    planes = torch.maximum(planes, line)
    frame = framing(planes[:, 0], uniform(-1, 1), uniform(-1, 1, 2))
    grid = F.affine_grid(frame, list(tiles.shape), align_corners=False)
    return F.grid_sample(planes, grid, align_corners=False)


def _segment(start: Tensor, end: Tensor, side: int = TILE_SIDE, half: Tensor | float = 0.9) -> Tensor:
    """[N, 1, side, side]: 1 within `half` a pixel of the line between two points [N, 2], 0 a pixel beyond."""
    steps = torch.arange(float(side), device=start.device)
    direction = end - start
    y, x = steps[None, :, None] - start[:, 0, None, None], steps[None, None, :] - start[:, 1, None, None]
    length = direction.pow(2).sum(1).clamp(min=1)[:, None, None]
    along = ((y * direction[:, 0, None, None] + x * direction[:, 1, None, None]) / length).clamp_(0, 1)
    far = (y - along * direction[:, 0, None, None]).pow(2) + (x - along * direction[:, 1, None, None]).pow(2)
    return (half + 0.5 - far.sqrt().unsqueeze(1)).clamp_(0, 1)


DAMAGE = (outline, noise, specks, blur, shaken, *[coarse] * 4, stains, veil, *[line] * 2, underlined)
"""Lines count twice, as they change most; small scans four times, as they are what people have most."""
