"""Networks that teach another by their answers (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

What they find alike, and how much, is told by ten numbers instead of one label; and of a label that is wrong, networks
that did not learn it by heart say so.
"""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import devices
from models.inference import networks

TEMPERATURE = 4.0
"""Softens the answers, so that what is second and third counts."""


class Teachers:
    """Trained networks, which it takes over, on one device.

    fingerprints: of each the sha256 of its weights.
    """

    def __init__(self, trained: Sequence[nn.Module], device: torch.device) -> None:
        self.fingerprints = [_fingerprint(network) for network in trained]
        self._type = torch.bfloat16 if devices.fast_bfloat16(device) else torch.float32
        self._networks = [
            networks.fuse_batch_norm(network).to(device, self._type).to(memory_format=torch.channels_last)
            for network in trained
        ]

    def answers(self, tiles: Tensor) -> Tensor:
        """Float tiles [N, 1, 28, 28] on the device to the mean of the softened probabilities, [N, 10]."""
        with torch.no_grad():
            tiles = tiles.to(self._type).contiguous(memory_format=torch.channels_last)
            answers = [F.softmax(network(tiles).float() / TEMPERATURE, dim=1) for network in self._networks]
            return torch.stack(answers).mean(0)


def distance(logits: Tensor, answers: Tensor) -> Tensor:
    """How far logits [N, 10] are from the teachers' softened answers [N, 10]: their mean divergence, 0 for the same.

    Times the square of the temperature, since softening makes it as much flatter.
    """
    own = F.log_softmax(logits.float() / TEMPERATURE, dim=1)
    return TEMPERATURE**2 * F.kl_div(own, answers, reduction="batchmean")


def _fingerprint(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
