"""A forward pass that shows, before a version answers anybody, that it answers as its weights say.

What predicts is not quite what was trained: batch normalisation is folded away, the layout of memory is another, and
so may the device be. On a few fixed tiles both have to say the same.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.errors import BrokenVersion, InferenceFailed
from models.inference.predictor import Predictor, Tiles, as_input

TOLERANCE = 0.02
"""Between probabilities; devices that round to ten bits of mantissa stay well below."""


def tiles() -> Tiles:
    """Blank, full, and six of blots, uint8 [8, 28, 28]."""
    blots = np.random.default_rng(0).integers(0, 256, (6, 7, 7), np.uint8)
    blots[blots < 150] = 0
    plain = np.zeros((2, 28, 28), np.uint8)
    plain[1] = 255
    return np.concatenate([plain, np.kron(blots, np.ones((1, 4, 4), np.uint8))])


def answers(network: nn.Module) -> NDArray[np.float32]:
    """Logits [8, 10] of the network as it was trained, on the CPU."""
    network.eval()
    with torch.inference_mode():
        logits: NDArray[np.float32] = network(as_input(tiles())).numpy()
    return logits


def check(predictor: Predictor, expected: NDArray[np.float32]) -> None:
    """Raises BrokenVersion for a predictor whose answers are not finite, or not those expected."""
    try:
        found = predictor.logits(tiles())
    except InferenceFailed as error:
        raise BrokenVersion(f"{predictor.model} does not predict: {error}") from error
    probabilities = (predictor.calibration.probabilities(logits) for logits in (found, expected))
    difference = float(np.abs(np.subtract(*probabilities)).max())
    if not difference <= TOLERANCE:
        raise BrokenVersion(
            f"{predictor.model} answers differently on {predictor.device} than its weights say: "
            f"its probabilities are off by {difference:.3f}"
        )
