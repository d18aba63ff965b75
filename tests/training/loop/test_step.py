import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.inference import networks
from tests.support.environment import CUDA
from training.loop.step import OUTLIER_WEIGHT, TAUGHT_WEIGHT, Batch, Gradients
from training.teachers import distance


def batch(seed: int, outliers: int = 4, taught: bool = False, untaught: int = 0, device: str = "cpu") -> Batch:
    """untaught: how many digits there are behind those that teachers answer."""
    dice = torch.Generator().manual_seed(seed)
    tiles = torch.rand(12 + untaught + outliers, 1, 28, 28, generator=dice)
    answers = torch.rand(12, 10, generator=dice).softmax(1) if taught else None
    found = Batch(tiles, torch.randint(10, (12 + untaught,), generator=dice), answers)
    return Batch(*(tensor if tensor is None else tensor.to(device) for tensor in found))


def expected(network: nn.Module, one: Batch) -> tuple[Tensor, list[Tensor]]:
    """As the definitions of the loss say, for one batch."""
    logits = network(one.tiles)
    digits, others = logits[: len(one.labels)], logits[len(one.labels) :]
    if one.answers is None:
        loss = F.cross_entropy(digits, one.labels)
    else:
        loss = distance(digits[:12], one.answers)
        if len(digits) > 12:
            loss = loss + TAUGHT_WEIGHT * F.cross_entropy(digits[12:], one.labels[12:])
    if len(others):
        no_idea = torch.full_like(others, 0.1)
        loss = loss + (OUTLIER_WEIGHT if one.answers is None else TAUGHT_WEIGHT) * F.cross_entropy(others, no_idea)
    return loss.detach(), list(torch.autograd.grad(loss, list(network.parameters())))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize(
    ("outliers", "taught", "untaught"),
    [(0, False, 0), (4, False, 0), (0, True, 0), (4, True, 0), (4, False, 5), (0, True, 5), (4, True, 5)],
)
def test_each_batch_has_its_own_loss_and_gradients(device: str, outliers: int, taught: bool, untaught: int) -> None:
    torch.manual_seed(0)
    network = networks.create("net").to(device)
    gradients = Gradients(network)
    for seed in range(3):
        one = batch(seed, outliers, taught, untaught, device)
        loss, wanted = expected(network, one)
        assert torch.allclose(gradients.of(one), loss, rtol=0.005)
        for parameter, gradient in zip(network.parameters(), wanted, strict=True):
            assert parameter.grad is not None
            # In bfloat16, where the device is fast at it; of another batch they differ by more than their length.
            assert (parameter.grad - gradient).norm() <= 0.25 * gradient.norm()
        with torch.no_grad():  # a step: the next batch meets other weights
            for parameter in network.parameters():
                parameter.sub_(0.01 * parameter.grad)


@CUDA
def test_recording_changes_neither_what_the_network_counts_nor_the_dice() -> None:
    torch.manual_seed(0)
    network = networks.create("convnet").cuda().train()
    counted, dice = copy.deepcopy(list(network.buffers())), torch.cuda.get_rng_state()
    Gradients(network)._record(batch(0, device="cuda"))
    assert all(torch.equal(buffer, before) for buffer, before in zip(network.buffers(), counted, strict=True))
    assert torch.equal(torch.cuda.get_rng_state(), dice)
