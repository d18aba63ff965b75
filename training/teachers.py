"""Networks that teach another by their answers (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

What they find alike, and how much, is told by ten numbers instead of one label; and of a label that is wrong, networks
that did not learn it by heart say so.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import devices, networks

TEMPERATURE = 4.0
"""Softens the answers, so that what is second and third counts."""


class Teachers:
    """Trained networks, which it takes over, on one device."""

    def __init__(self, trained: Sequence[nn.Module], device: torch.device) -> None:
        self._type = torch.bfloat16 if devices.fast_bfloat16(device) else torch.float32
        self._networks = [
            networks.fused(network).to(device, self._type).to(memory_format=torch.channels_last) for network in trained
        ]

    def answers(self, tiles: Tensor) -> Tensor:
        """Float tiles [N, 1, 28, 28] on the device to the mean of the softened probabilities, [N, 10]."""
        with torch.inference_mode():
            tiles = tiles.to(self._type).contiguous(memory_format=torch.channels_last)
            answers = [F.softmax(network(tiles).float() / TEMPERATURE, dim=1) for network in self._networks]
        return torch.stack(answers).mean(0).clone()


def distance(logits: Tensor, answers: Tensor) -> Tensor:
    """How far logits [N, 10] are from the teachers' softened answers [N, 10]: the mean cross entropy, in nats.

    As steep as that of hard labels, whatever the temperature.
    """
    return TEMPERATURE**2 * F.cross_entropy(logits / TEMPERATURE, answers)
