"""One batch's loss and gradients.

A step of a small network is about a hundred CUDA kernels of microseconds each, and launching them one by one takes
longer than they run. On CUDA the first batch is therefore recorded as a graph, which is replayed with the others.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import devices
from training.distillation import distillation_loss

OUTLIER_WEIGHT = 0.5
"""Weight of the outliers' loss beside the digits'."""
DISTILLATION_WEIGHT = 0.15
"""Weight of the losses of outliers and of labels beside the distillation loss: enough to keep what was learned."""
WARM_UP_RUNS = 3
"""Runs before recording: libraries set themselves up in them, which a graph cannot record."""


class Batch(NamedTuple):
    """tiles: float [N, 1, 28, 28], M digits, then outliers. labels: int64 [M].

    soft_targets: [S, 10], which replace the labels of the first S digits.
    """

    tiles: Tensor
    labels: Tensor
    soft_targets: Tensor | None


class ForwardBackward:
    """Computes loss and gradients for a network in training mode, on its device.

    All batches have one shape, and all or none have soft targets. Nothing else may replace the parameters or their
    gradients in the meantime: the graph holds their addresses.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._device = next(network.parameters()).device
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Batch) -> Tensor:
        """Returns the loss and leaves its gradients in the network's parameters, in place of the last batch's."""
        if self._device.type != "cuda":
            return self._compute(batch)
        if self._graph is None:
            self._graph = self._record(batch)
        for static, tensor in zip(self._inputs, batch, strict=True):
            if static is not None and tensor is not None:
                static.copy_(tensor)
        self._graph.replay()
        return self._loss.clone()

    def _compute(self, batch: Batch) -> Tensor:
        self._network.zero_grad()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=devices.fast_bfloat16(self._device)):
            loss = _loss(self._network(batch.tiles), batch.labels, batch.soft_targets)
        loss.backward()
        return loss.detach()

    def _record(self, batch: Batch) -> torch.cuda.CUDAGraph:
        """Leaves the network's buffers and the random state as they were."""
        soft_targets = None if batch.soft_targets is None else batch.soft_targets.clone()
        self._inputs = Batch(batch.tiles.clone(), batch.labels.clone(), soft_targets)
        buffers = [buffer.clone() for buffer in self._network.buffers()]
        random_state = torch.cuda.get_rng_state(self._device)
        side, current = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                self._compute(self._inputs)
        current.wait_stream(side)
        for buffer, before in zip(self._network.buffers(), buffers, strict=True):
            buffer.copy_(before)
        torch.cuda.set_rng_state(random_state, self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self._loss = self._compute(self._inputs)
        return graph


def _loss(logits: Tensor, labels: Tensor, soft_targets: Tensor | None) -> Tensor:
    """The digits' loss plus the outliers', which are to get ten equal probabilities (Hendrycks et al. 2019)."""
    digits, outliers = logits[: len(labels)], logits[len(labels) :]
    if soft_targets is None:
        loss, weight = F.cross_entropy(digits, labels), OUTLIER_WEIGHT
    else:
        distilled = len(soft_targets)
        loss, weight = distillation_loss(digits[:distilled], soft_targets), DISTILLATION_WEIGHT
        if len(labels) > distilled:
            loss = loss + weight * F.cross_entropy(digits[distilled:], labels[distilled:])
    if len(outliers):
        loss = loss - weight * F.log_softmax(outliers, dim=1).mean()
    return loss
