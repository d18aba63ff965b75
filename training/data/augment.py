"""Random distortions that keep a digit's label: other handwriting, other pens, other scanners.

All functions take float tiles [N, 1, 28, 28] in 0..1 and work on the whole batch, on its device, with the generator
given.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from models.preprocessing.normalise import TILE_SIDE
from training.data.framing import framing, ink_extent

WIDE = 40
"""Side in pixels of the plane on which distorted digits are measured, wide enough for all of them."""


def augment(tiles: Tensor, generator: Generator, distorted: float, damaged: float) -> Tensor:
    """distorted: strength of the distortion, 1 covers how people's handwriting differs. damaged: share of tiles."""
    return damage(distort(tiles, generator, distorted), generator, damaged)


def distort(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Imitates another person's handwriting with another pen."""
    tiles = warp(tiles, generator, strength)
    tiles = thicken(tiles, generator, strength)
    return ink(tiles, generator, strength)


def warp(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Applies an affine map and an elastic field (Simard et al. 2003), then frames the digit as normalisation does.

    Offset and size hardly vary, because normalisation leaves little variation in them.
    """
    uniform = _uniform(tiles, generator)
    angle = uniform(-1, 1) * math.radians(15) * strength
    shear = uniform(-0.3, 0.3) * strength
    # Width and height vary apart: people's handwriting differs most in slant and proportion.
    width, height = 1 + uniform(-0.2, 0.2) * strength, 1 + uniform(-0.15, 0.15) * strength
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = torch.stack([cos / width, (shear * cos - sin) / height, zero], 1)
    columns = torch.stack([sin / width, (shear * sin + cos) / height, zero], 1)
    grid = _grid(torch.stack([rows, columns], 1) * (WIDE / TILE_SIDE), WIDE)
    coarse = _normal(tiles, generator, 2, 6, 6)
    field = F.interpolate(coarse, size=(WIDE, WIDE), mode="bicubic", align_corners=True)
    grid += (field * uniform(0.0, 0.07 * strength, 1, 1, 1)).permute(0, 2, 3, 1)

    margin = uniform(-1, 1) * (0.3 + 0.7 * strength)
    shift = uniform(-1, 1, 2) * (0.5 + strength)
    frame = framing(_sample(tiles, grid)[:, 0], margin, shift)
    inner = _grid(frame, TILE_SIDE).clamp(1 / WIDE - 1, 1 - 1 / WIDE)
    return _sample(tiles, _sample(grid.permute(0, 3, 1, 2), inner).permute(0, 2, 3, 1))


def thicken(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Moves each tile between its erosion (-1) and its dilation (+1); about half stay nearly as they are."""
    amount = _normal(tiles, generator, 1, 1, 1).mul_(0.35 * strength).clamp_(-0.6, 1)
    return tiles + amount.clamp(min=0) * (_dilate(tiles) - tiles) + amount.clamp(max=0) * (tiles - _erode(tiles))


def ink(tiles: Tensor, generator: Generator, strength: float = 1.0) -> Tensor:
    """Sharper or softer edges and paler or fuller ink, as from scanners and resampling."""
    blurred = F.avg_pool2d(tiles, 3, stride=1, padding=1, count_include_pad=False)
    softness = _normal(tiles, generator, 1, 1, 1).mul_(0.6 * strength).clamp_(-1.5, 1)
    fullness = 1 + 0.15 * strength * _normal(tiles, generator, 1, 1, 1)
    return ((tiles + softness * (blurred - tiles)) * fullness).clamp_(0, 1)


def damage(tiles: Tensor, generator: Generator, share: float) -> Tensor:
    """Damages a share of the tiles, each by a random one of DAMAGE."""
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
    """The edge of each stroke, outside it or on both sides, as from a contour filter or a hollow pen."""
    uniform = _uniform(tiles, generator)
    thin = uniform(0, 1, 1, 1, 1) < 0.5
    edge = _dilate(tiles) - torch.where(thin, tiles, _erode(tiles))
    hard = uniform(0, 1, 1, 1, 1) < 0.5
    return torch.where(hard, (edge > 0.5 * edge.amax((2, 3), keepdim=True)).to(edge.dtype), edge).clamp_(0, 1)


def noise(tiles: Tensor, generator: Generator) -> Tensor:
    """Normal noise with a standard deviation up to 0.3, different for each tile."""
    strength = _uniform(tiles, generator)(0, 0.3, 1, 1, 1)
    return (tiles + strength * _normal(tiles, generator, *tiles.shape[1:])).clamp_(0, 1)


def specks(tiles: Tensor, generator: Generator) -> Tensor:
    """Up to a fifth of the pixels become full ink or none."""
    uniform, shape = _uniform(tiles, generator), tiles.shape[1:]
    share = uniform(0, 0.2, 1, 1, 1)
    where = uniform(0, 1, *shape) < share
    return torch.where(where, uniform(0, 1, *shape).round_(), tiles)


def blur(tiles: Tensor, generator: Generator) -> Tensor:
    """Between a mean over 3 x 3 pixels and one over 5 x 5, scaled to full ink."""
    mean = _uniform(tiles, generator)(0, 1, 1, 1, 1)
    near = F.avg_pool2d(tiles, 3, stride=1, padding=1)
    blurred = near + mean * (F.avg_pool2d(tiles, 5, stride=1, padding=2) - near)
    return blurred / blurred.amax((2, 3), keepdim=True).clamp(min=0.3)


def shaken(tiles: Tensor, generator: Generator) -> Tensor:
    """Each pixel comes from a random place up to two pixels away, as behind ribbed glass; then the tile is softened."""
    uniform = _uniform(tiles, generator)
    reach = 2 * 2 / TILE_SIDE * uniform(0, 1, 1, 1, 1)
    offsets = 2 * uniform(0, 1, TILE_SIDE, TILE_SIDE, 2) - 1
    identity = torch.eye(2, 3, device=tiles.device).expand(len(tiles), 2, 3)
    moved = _sample(tiles, _grid(identity, TILE_SIDE) + reach * offsets)
    return F.avg_pool2d(moved, 3, stride=1, padding=1, count_include_pad=False)


def coarse(tiles: Tensor, generator: Generator) -> Tensor:
    """Scaled down to 10 to 20 pixels and up again, as a small scan is."""
    side = int(torch.randint(10, 21, (1,), generator=generator, device=tiles.device))
    small = F.interpolate(tiles, size=(side, side), mode="area")
    return F.interpolate(small, size=(TILE_SIDE, TILE_SIDE), mode="bicubic", align_corners=False).clamp_(0, 1)


def stains(tiles: Tensor, generator: Generator) -> Tensor:
    """Blots of any grey, which cover ink and background."""
    uniform = _uniform(tiles, generator)
    field = F.interpolate(
        _normal(tiles, generator, 1, 14, 14), size=(TILE_SIDE, TILE_SIDE), mode="bilinear", align_corners=False
    )
    level = 0.7 + 0.7 * uniform(0, 1, 1, 1, 1)
    cover = (4 * (field - level)).clamp_(0, 1) * uniform(0, 1, 1, 1, 1)
    return tiles + cover * (uniform(0, 1, 1, 1, 1) - tiles)


def veil(tiles: Tensor, generator: Generator) -> Tensor:
    """Ink that fades in places, over a background that is not quite clean."""
    fields = _uniform(tiles, generator)(0, 1, 2, 4, 4)
    wide = F.interpolate(fields, size=(TILE_SIDE, TILE_SIDE), mode="bicubic", align_corners=True)
    fading, dirt = wide.split(1, dim=1)
    veiled: Tensor = tiles * (0.2 + 1.2 * fading).clamp(min=0.3) + 0.5 * (dirt - 0.6).clamp(min=0)
    return veiled.clamp_(0, 1)


def line(tiles: Tensor, generator: Generator) -> Tensor:
    """A crooked stroke of up to eight pieces, inked or erased, in a digit that may be smaller.

    Normalisation measures a digit together with whatever is drawn across it.
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
    return _sample(crossed, _grid(scale * torch.eye(2, 3, device=device), TILE_SIDE))


def underlined(tiles: Tensor, generator: Generator) -> Tensor:
    """A digit on a ruled line that is framed with it, so that the line may look like the digit's foot."""
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
    return _sample(planes, _grid(frame, TILE_SIDE))


DAMAGE = (outline, noise, specks, blur, shaken, *[coarse] * 4, stains, veil, *[line] * 2, underlined)
"""Lines count twice because they change a tile most, small scans four times because they are most common."""


def _uniform(tiles: Tensor, generator: Generator) -> Callable[..., Tensor]:
    """A function (low, high, *shape) that draws [N, *shape], different for each tile."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(len(tiles), *shape, generator=generator, device=tiles.device)

    return uniform


def _normal(tiles: Tensor, generator: Generator, *shape: int) -> Tensor:
    return torch.randn(len(tiles), *shape, generator=generator, device=tiles.device)


def _dilate(tiles: Tensor) -> Tensor:
    return F.max_pool2d(tiles, 3, stride=1, padding=1)


def _erode(tiles: Tensor) -> Tensor:
    return -_dilate(-tiles)


def _grid(maps: Tensor, side: int) -> Tensor:
    """The sampling grid [N, side, side, 2] of affine maps [N, 2, 3]."""
    return F.affine_grid(maps, [len(maps), 1, side, side], align_corners=False)


def _sample(planes: Tensor, grid: Tensor) -> Tensor:
    return F.grid_sample(planes, grid, align_corners=False)


def _segment(start: Tensor, end: Tensor, side: int = TILE_SIDE, half: Tensor | float = 0.9) -> Tensor:
    """[N, 1, side, side]: 1 within `half` a pixel of the segment between points [N, 2], 0 one pixel further out."""
    steps = torch.arange(float(side), device=start.device)
    direction = end - start
    y, x = steps[None, :, None] - start[:, 0, None, None], steps[None, None, :] - start[:, 1, None, None]
    length = direction.pow(2).sum(1).clamp(min=1)[:, None, None]
    along = ((y * direction[:, 0, None, None] + x * direction[:, 1, None, None]) / length).clamp_(0, 1)
    far = (y - along * direction[:, 0, None, None]).pow(2) + (x - along * direction[:, 1, None, None]).pow(2)
    return (half + 0.5 - far.sqrt().unsqueeze(1)).clamp_(0, 1)
