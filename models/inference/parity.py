"""The parity check: before a version is used, its predictor must agree with its network on a few fixed tiles.

The two differ in fused batch normalisation, in memory layout and possibly in device.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.errors import BrokenVersion, InferenceFailed
from models.inference.predictor import Predictor, Tiles, as_input
from models.preprocessing.normalise import TILE_SIDE

TOLERANCE = 0.02  # between probabilities; devices that round to a 10-bit mantissa stay far below it


def tiles() -> Tiles:
    """The fixed tiles, uint8 [8, 28, 28]: an empty one, a full one, and six of random blots."""
    blots = np.random.default_rng(0).integers(0, 256, (6, 7, 7), np.uint8)
    blots[blots < 150] = 0
    uniform = np.zeros((2, TILE_SIDE, TILE_SIDE), np.uint8)
    uniform[1] = 255
    return np.concatenate([uniform, np.kron(blots, np.ones((1, 4, 4), np.uint8))])


def answers(network: nn.Module) -> NDArray[np.float32]:
    """The logits [8, 10] of the network as it was trained, on the CPU."""
    network.eval()
    with torch.inference_mode():
        logits: NDArray[np.float32] = network(as_input(tiles())).numpy()
    return logits


def check(predictor: Predictor, expected: NDArray[np.float32]) -> None:
    """Raises BrokenVersion when the logits are not finite, or the probabilities differ from those of `expected`.

    expected: logits [8, 10] from `answers`.
    """
    try:
        found = predictor.logits(tiles())
    except InferenceFailed as error:
        raise BrokenVersion(f"{predictor.model} does not predict: {error}") from error
    probabilities = (predictor.calibration.probabilities(logits) for logits in (found, expected))
    difference = float(np.abs(np.subtract(*probabilities)).max())
    if not difference <= TOLERANCE:
        raise BrokenVersion(
            f"{predictor.model} predicts differently on {predictor.device} than its weights do on the CPU: "
            f"probabilities differ by {difference:.3f}, the limit is {TOLERANCE}"
        )
