"""Fits a mixture over random affine transforms to the feedback by EM, then restyles MNIST digits with transforms drawn
from it.

A transform explains a feedback image if the network, given the image with the transform undone, answers its label. The
weights of the mixture are fitted by expectation maximisation (Dempster, Laird and Rubin 1977), so several writers get
several transforms. Transforms are linear maps, float [M, 2, 2], of (right, down) about the centre of a digit.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.inference.networks import as_input
from models.preprocessing.normalise import TILE_SIDE
from training.data.framing import framing
from training.data.mnist import Digits

TRANSFORMS = 200
"""Components of the mixture."""
FITTED = 100
"""The most feedback images that the mixture is fitted to."""
ROTATION, SLANT, ASPECT = math.radians(20), 0.4, 0.2
"""Standard deviations of the transforms: of the angle, of columns per row, and of the logarithm of width by height."""
LABEL_NOISE = 0.1
"""The share of labels that the mixture takes for random."""
ITERATIONS = 300
BATCH = 500
MIDDLE = 0.5
"""The shift in pixels that puts the centre of mass into the middle of the tile instead of at pixel 14."""


def restyled(network: nn.Module, digits: Digits, feedback: Digits, count: int, generator: Generator) -> Digits:
    """`count` random digits in the style of the feedback, uint8, on the device of the feedback and the generator.

    network: the active version's, in evaluation mode.
    """
    device = generator.device
    transforms = _random_transforms(generator)
    fitted = feedback[torch.randperm(len(feedback), generator=generator, device=device)[:FITTED]]
    weights = _mixture_weights(_likelihoods(network, fitted, transforms))
    drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
    chosen = digits[torch.randint(len(digits), (count,), generator=generator, device=device).cpu()]
    batches = zip(chosen.images.split(BATCH), drawn.split(BATCH), strict=True)
    tiles = torch.cat([transformed(as_input(images, device), transforms[indices]) for images, indices in batches])
    return Digits.from_floats(tiles, chosen.labels.to(device))


def transformed(tiles: Tensor, transforms: Tensor) -> Tensor:
    """Float tiles [N, 1, 28, 28], each under its transform [N, 2, 2], framed as MNIST's digits are."""
    inverse = torch.linalg.inv(transforms)
    count, device = len(tiles), tiles.device
    # Measured on a plane of twice the tile's extent, where the whole of a transformed digit fits.
    plane = _sampled(tiles, 2 * inverse, torch.zeros(count, 2, 1, device=device), 2 * TILE_SIDE)[:, 0]
    frame = 2 * framing(plane, torch.zeros(count, device=device), torch.full((count, 2), MIDDLE, device=device))
    return _sampled(tiles, inverse @ frame[:, :, :2], inverse @ frame[:, :, 2:], TILE_SIDE)


def _random_transforms(generator: Generator) -> Tensor:
    normal = torch.randn(3, TRANSFORMS, generator=generator, device=generator.device)
    angle, slant, width = normal[0] * ROTATION, normal[1] * SLANT, (normal[2] * ASPECT).exp()
    cos, sin = angle.cos(), angle.sin()
    rows = [torch.stack([cos * width, cos * slant - sin], 1), torch.stack([sin * width, sin * slant + cos], 1)]
    return torch.stack(rows, 1)


def _likelihoods(network: nn.Module, feedback: Digits, transforms: Tensor) -> Tensor:
    """[N, M]: the probability of each image's label under each transform."""
    tiles, likelihoods = as_input(feedback.images, transforms.device), []
    with torch.inference_mode():
        for inverse in torch.linalg.inv(transforms):
            probabilities = F.softmax(network(transformed(tiles, inverse.expand(len(tiles), 2, 2))), dim=1)
            likelihoods.append(probabilities.gather(1, feedback.labels[:, None])[:, 0])
    return (1 - LABEL_NOISE) * torch.stack(likelihoods, 1) + LABEL_NOISE / 10


def _mixture_weights(likelihoods: Tensor) -> Tensor:
    """[M], of greatest likelihood given likelihoods [N, M]."""
    components = likelihoods.shape[1]
    weights = torch.full((components,), 1 / components, device=likelihoods.device)
    for _ in range(ITERATIONS):
        joint = weights * likelihoods
        responsibilities = joint / joint.sum(1, keepdim=True)
        weights = responsibilities.mean(0)
    return weights


def _sampled(tiles: Tensor, linear: Tensor, shift: Tensor, side: int) -> Tensor:
    grid = F.affine_grid(torch.cat([linear, shift], 2), [len(tiles), 1, side, side], align_corners=False)
    return F.grid_sample(tiles, grid, align_corners=False)
