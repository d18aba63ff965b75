"""Knowledge distillation (Hinton, Vinyals and Dean 2015, arXiv 1503.02531).

A network learns from the softened probabilities of trained networks instead of labels. Ten numbers say which digits
look alike and how much, and they contradict a label that is wrong.
"""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import devices
from models.inference import networks

TEMPERATURE = 4.0
"""Softens the probabilities, so that the second and third digit count."""


class Teachers:
    """Trained networks on one device, fused for inference in place. sha256: of each network's weights."""

    def __init__(self, trained: Sequence[nn.Module], device: torch.device) -> None:
        self.sha256 = [_sha256(network) for network in trained]
        self._type = torch.bfloat16 if devices.fast_bfloat16(device) else torch.float32
        self._networks = [
            networks.fuse_batch_norm(network).to(device, self._type).to(memory_format=torch.channels_last)
            for network in trained
        ]

    def soft_targets(self, tiles: Tensor) -> Tensor:
        """The networks' mean softened probabilities [N, 10] for float tiles [N, 1, 28, 28] on the device."""
        with torch.no_grad():
            tiles = tiles.to(self._type).contiguous(memory_format=torch.channels_last)
            softened = [F.softmax(network(tiles).float() / TEMPERATURE, dim=1) for network in self._networks]
            return torch.stack(softened).mean(0)


def distillation_loss(logits: Tensor, soft_targets: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of logits [N, 10] from soft targets [N, 10].

    It is multiplied by the square of the temperature, because softening makes gradients smaller by that factor.
    """
    log_probabilities = F.log_softmax(logits.float() / TEMPERATURE, dim=1)
    return TEMPERATURE**2 * F.kl_div(log_probabilities, soft_targets, reduction="batchmean")


def _sha256(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
