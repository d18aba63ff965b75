"""The loss of one batch after another, and its gradients.

A step of a small network is some hundred kernels of microseconds. To ask CUDA for them one by one takes longer than
they run, so there the first batch is recorded as a graph, which is replayed with the others.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import devices
from training import teachers

OUTLIER_WEIGHT, TAUGHT_WEIGHT = 0.5, 0.15
"""Of outliers beside digits. Beside what teachers say it takes less to keep what was practised, and that is then the
weight of labels as well."""
WARMING = 3
"""How often the first batch is computed before: libraries set themselves up with it, which can not be recorded."""


class Batch(NamedTuple):
    """tiles: float [N, 1, 28, 28], the M digits first and outliers behind them; labels: int64 [M].

    answers: of teachers, [A, 10], which count instead of the labels of the first A digits.
    """

    tiles: Tensor
    labels: Tensor
    answers: Tensor | None


class Gradients:
    """Of a network in training mode, on its device; all batches are of one shape, with answers or all without.

    Nobody else may replace the parameters or their gradients meanwhile: what is recorded finds them by their place.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._device = next(network.parameters()).device
        self._graph: torch.cuda.CUDAGraph | None = None

    def of(self, batch: Batch) -> Tensor:
        """The loss; its gradients are left in the network's parameters, in place of the last batch's."""
        if self._device.type != "cuda":
            return self._compute(batch)
        if self._graph is None:
            self._graph = self._record(batch)
        for place, tensor in zip(self._inputs, batch, strict=True):
            if place is not None and tensor is not None:
                place.copy_(tensor)
        self._graph.replay()
        return self._loss.clone()

    def _compute(self, batch: Batch) -> Tensor:
        self._network.zero_grad()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=devices.fast_bfloat16(self._device)):
            loss = _loss_of(self._network(batch.tiles), batch.labels, batch.answers)
        loss.backward()
        return loss.detach()

    def _record(self, batch: Batch) -> torch.cuda.CUDAGraph:
        """Leaves what the network has counted, and the dice, as they were."""
        answers = None if batch.answers is None else batch.answers.clone()
        self._inputs = Batch(batch.tiles.clone(), batch.labels.clone(), answers)
        counted = [buffer.clone() for buffer in self._network.buffers()]
        dice = torch.cuda.get_rng_state(self._device)
        beside, here = torch.cuda.Stream(self._device), torch.cuda.current_stream(self._device)
        beside.wait_stream(here)
        with torch.cuda.stream(beside):
            for _ in range(WARMING):
                self._compute(self._inputs)
        here.wait_stream(beside)
        for buffer, before in zip(self._network.buffers(), counted, strict=True):
            buffer.copy_(before)
        torch.cuda.set_rng_state(dice, self._device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=beside):
            self._loss = self._compute(self._inputs)
        return graph


def _loss_of(logits: Tensor, labels: Tensor, answers: Tensor | None) -> Tensor:
    """Cross entropy of the digits, and of the outliers behind them against `no idea` (Hendrycks et al. 2019).

    Of the digits that teachers have answered, [A, 10], their distance from the answers instead.
    """
    known, unknown = logits[: len(labels)], logits[len(labels) :]
    if answers is None:
        loss, weight = F.cross_entropy(known, labels), OUTLIER_WEIGHT
    else:
        loss, weight = teachers.distance(known[: len(answers)], answers), TAUGHT_WEIGHT
        if len(labels) > len(answers):
            loss = loss + weight * F.cross_entropy(known[len(answers) :], labels[len(answers) :])
    if len(unknown):
        loss = loss - weight * F.log_softmax(unknown, dim=1).mean()
    return loss
