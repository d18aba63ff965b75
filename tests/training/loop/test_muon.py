import pytest
import torch
from torch import nn
from torch.nn import functional

from training.loop.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(48, 432), (128, 128), (96, 32)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_orthogonal_keeps_directions_and_evens_their_strengths(shape: tuple[int, int], size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rank = min(shape)
    left, right = (torch.linalg.qr(torch.randn(side, rank, generator=generator)).Q for side in shape)
    matrix = size * left @ torch.linspace(0.05, 1, rank).diag() @ right.T
    found = left.T @ orthogonal(matrix) @ right
    strengths = found.diagonal()
    assert strengths.min() > 0.6
    assert strengths.max() < 1.2
    assert (found - strengths.diag()).abs().max() < 1e-3


def test_kernels_without_gradients_stay() -> None:
    kernel, unused = nn.Parameter(torch.ones(4, 2, 3, 3)), nn.Parameter(torch.ones(4, 2, 3, 3))
    kernel.grad = torch.zeros_like(kernel)
    Muon([kernel, unused], lr=0.1).step()
    assert torch.equal(kernel, torch.ones(4, 2, 3, 3))
    assert torch.equal(unused, torch.ones(4, 2, 3, 3))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_recovered_from_its_outputs(layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    wanted, pictures = torch.randn(6, 4, 3, 3, generator=generator), torch.randn(64, 4, 8, 8, generator=generator)
    kernel = nn.Parameter(torch.zeros(6, 4, 3, 3).contiguous(memory_format=layout))
    optimizer = Muon([kernel], lr=0.2)
    steps = 200
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / steps)
        loss = functional.mse_loss(functional.conv2d(pictures, kernel), functional.conv2d(pictures, wanted))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.allclose(kernel, wanted, atol=0.05)
