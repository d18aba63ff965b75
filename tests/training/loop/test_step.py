import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.inference import networks
from tests.support.environment import CUDA
from training.distillation import distillation_loss
from training.loop.step import DISTILLATION_WEIGHT, OUTLIER_WEIGHT, Batch, ForwardBackward


def batch(seed: int, outliers: int = 4, distil: bool = False, labelled: int = 0, device: str = "cpu") -> Batch:
    """labelled: digits behind those with soft targets."""
    generator = torch.Generator().manual_seed(seed)
    tiles = torch.rand(12 + labelled + outliers, 1, 28, 28, generator=generator)
    soft_targets = torch.rand(12, 10, generator=generator).softmax(1) if distil else None
    found = Batch(tiles, torch.randint(10, (12 + labelled,), generator=generator), soft_targets)
    return Batch(*(tensor if tensor is None else tensor.to(device) for tensor in found))


def expected(network: nn.Module, one: Batch) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients of one batch, by their definitions."""
    logits = network(one.tiles)
    digits, others = logits[: len(one.labels)], logits[len(one.labels) :]
    if one.soft_targets is None:
        loss = F.cross_entropy(digits, one.labels)
    else:
        loss = distillation_loss(digits[:12], one.soft_targets)
        if len(digits) > 12:
            loss = loss + DISTILLATION_WEIGHT * F.cross_entropy(digits[12:], one.labels[12:])
    if len(others):
        uniform = torch.full_like(others, 0.1)
        loss = loss + (OUTLIER_WEIGHT if one.soft_targets is None else DISTILLATION_WEIGHT) * F.cross_entropy(
            others, uniform
        )
    return loss.detach(), list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize(
    ("outliers", "distil", "labelled"),
    [(0, False, 0), (4, False, 0), (0, True, 0), (4, True, 0), (4, False, 5), (0, True, 5), (4, True, 5)],
)
def test_each_batch_has_its_own_loss_and_gradients(device: str, outliers: int, distil: bool, labelled: int) -> None:
    torch.manual_seed(0)
    network = networks.create("net").to(device)
    forward_backward = ForwardBackward(network)
    for seed in range(3):
        one = batch(seed, outliers, distil, labelled, device)
        loss, wanted = expected(network, one)
        assert torch.allclose(forward_backward(one), loss, rtol=0.005)
        for parameter, gradient in zip(network.parameters(), wanted, strict=True):
            assert parameter.grad is not None
            # The device may compute in bfloat16; gradients of another batch differ by more than their norm.
            assert (parameter.grad - gradient).norm() <= 0.25 * gradient.norm()
        with torch.no_grad():  # a step, so that the next batch meets other weights
            for parameter in network.parameters():
                parameter.sub_(0.01 * parameter.grad)


@CUDA
def test_recording_changes_neither_buffers_nor_random_state() -> None:
    torch.manual_seed(0)
    network = networks.create("convnet").cuda().train()
    buffers, random_state = copy.deepcopy(list(network.buffers())), torch.cuda.get_rng_state()
    ForwardBackward(network)._record(batch(0, device="cuda"))
    assert all(torch.equal(buffer, before) for buffer, before in zip(network.buffers(), buffers, strict=True))
    assert torch.equal(torch.cuda.get_rng_state(), random_state)
