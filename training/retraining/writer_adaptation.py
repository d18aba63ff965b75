"""How the hands that wrote the corrections slant, turn and stretch, and MNIST digits written likewise.

A few corrections are soon learned by heart, and nothing of their hand with them. But they tell how it is written:
turned back the right way, they are read as what they are. Of many maps drawn at random, each has a share in the
corrections, by expectation maximisation (Dempster, Laird and Rubin 1977); by these shares the maps are drawn for the
digits. Many hands have many maps.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.inference.predictor import as_input
from models.preprocessing.normalise import TILE_SIDE
from training.data.framing import framing
from training.data.mnist import Digits

MAPS, READ = 200, 100
"""Maps that are tried, and corrections that they are tried on, at most."""
TURN, SLANT, WIDTH = math.radians(20), 0.4, 0.2
"""Standard deviations of what is tried: angle, columns a row, and the logarithm of width by height."""
DOUBT = 0.1
"""How many labels may be drawn at random."""
ROUNDS = 300
MIDDLE = 0.5
"""Pixels beside pixel 14 at which a digit's centre of mass is put: in the tile's very middle."""


def rewritten(network: nn.Module, digits: Digits, corrections: Digits, count: int, generator: Generator) -> Digits:
    """`count` of the digits, uint8, as the corrections are written; network: reads them as the active version does."""
    device = generator.device
    maps = _maps(generator)
    some = corrections[torch.randperm(len(corrections), generator=generator, device=device)[:READ]]
    shares = _shares(_likelihoods(network, some, maps))
    drawn = torch.multinomial(shares, count, replacement=True, generator=generator)
    chosen = digits[torch.randint(len(digits), (count,), generator=generator, device=device).cpu()]
    tiles = torch.cat(
        [
            mapped(as_input(images, device), maps[numbers])
            for images, numbers in zip(chosen.images.split(500), drawn.split(500), strict=True)
        ]
    )
    return Digits.of_input(tiles, chosen.labels.to(device))


def mapped(tiles: Tensor, maps: Tensor) -> Tensor:
    """Float tiles [N, 1, 28, 28], each under its linear map [N, 2, 2], framed as MNIST's digits are."""
    back = torch.linalg.inv(maps)
    count, device = len(tiles), tiles.device
    # Measured on a plane of twice the tile's extent, where the whole of a mapped digit fits.
    plane = _sampled(tiles, 2 * back, torch.zeros(count, 2, 1, device=device), 2 * TILE_SIDE)[:, 0]
    frame = 2 * framing(plane, torch.zeros(count, device=device), torch.full((count, 2), MIDDLE, device=device))
    return _sampled(tiles, back @ frame[:, :, :2], back @ frame[:, :, 2:], TILE_SIDE)


def _maps(generator: Generator) -> Tensor:
    """[MAPS, 2, 2], from a digit to what a hand makes of it."""
    normal = torch.randn(3, MAPS, generator=generator, device=generator.device)
    angle, slant, width = normal[0] * TURN, normal[1] * SLANT, (normal[2] * WIDTH).exp()
    cos, sin = angle.cos(), angle.sin()
    rows = [torch.stack([cos * width, cos * slant - sin], 1), torch.stack([sin * width, sin * slant + cos], 1)]
    return torch.stack(rows, 1)


def _likelihoods(network: nn.Module, corrections: Digits, maps: Tensor) -> Tensor:
    """[N, M]: how probable the label of a correction is once a map is undone."""
    tiles, found = as_input(corrections.images, maps.device), []
    with torch.inference_mode():
        for back in torch.linalg.inv(maps):
            answers = F.softmax(network(mapped(tiles, back.expand(len(tiles), 2, 2))), dim=1)
            found.append(answers.gather(1, corrections.labels[:, None])[:, 0])
    return (1 - DOUBT) * torch.stack(found, 1) + DOUBT / 10


def _shares(likelihoods: Tensor) -> Tensor:
    """[M], the share of the corrections that each map has."""
    shares = torch.full((likelihoods.shape[1],), 1 / likelihoods.shape[1], device=likelihoods.device)
    for _ in range(ROUNDS):
        owners = shares * likelihoods
        shares = (owners / owners.sum(1, keepdim=True)).mean(0)
    return shares


def _sampled(tiles: Tensor, linear: Tensor, shift: Tensor, side: int) -> Tensor:
    grid = F.affine_grid(torch.cat([linear, shift], 2), [len(tiles), 1, side, side], align_corners=False)
    return F.grid_sample(tiles, grid, align_corners=False)
