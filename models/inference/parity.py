"""The parity check: before a version is used, its predictor must answer a few fixed tiles as the version says."""

import numpy as np
from numpy.typing import NDArray

from models.errors import BrokenVersion, InferenceFailed
from models.inference.predictor import Predictor, Tiles
from models.preprocessing.normalise import TILE_SIDE

TOLERANCE = 1e-3
"""The most that a probability may differ on a CPU."""
GPU_TOLERANCE = 0.02
"""The same elsewhere: some devices round to a mantissa of 10 bits."""


def tiles() -> Tiles:
    """The fixed tiles, uint8 [8, 28, 28]: an empty one, a full one, and six of random blots."""
    blots = np.random.default_rng(0).integers(0, 256, (6, 7, 7), np.uint8)
    blots[blots < 150] = 0
    uniform = np.zeros((2, TILE_SIDE, TILE_SIDE), np.uint8)
    uniform[1] = 255
    return np.concatenate([uniform, np.kron(blots, np.ones((1, 4, 4), np.uint8))])


def answers(predictor: Predictor) -> NDArray[np.float64]:
    """The calibrated probabilities [8, 10] of the fixed tiles. Raises InferenceFailed as `logits` does."""
    return predictor.calibration.probabilities(predictor.logits(tiles()))


def check(predictor: Predictor, expected: NDArray[np.float64]) -> None:
    """Raises BrokenVersion when the logits are not finite, or the probabilities are not those of `expected` [8, 10]."""
    try:
        found = answers(predictor)
    except InferenceFailed as error:
        raise BrokenVersion(f"{predictor.model} does not predict: {error}") from error
    difference = float(np.abs(found - expected).max())
    tolerance = TOLERANCE if predictor.device == "cpu" else GPU_TOLERANCE
    if not difference <= tolerance:
        raise BrokenVersion(
            f"{predictor.model} gives other answers to the fixed tiles with {predictor.runtime} on {predictor.device} "
            f"than when it was made: probabilities differ by {difference:.4f}, the limit is {tolerance}"
        )
