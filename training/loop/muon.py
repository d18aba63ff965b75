"""Muon, an optimiser for convolution kernels (Jordan and others 2024, https://kellerjordan.github.io/posts/muon/).

A momentum matrix has few strong directions, which drown the others. Muon makes it orthogonal, so that a step moves all
directions alike, and a convolution learns in two epochs what otherwise takes many.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
A, B, C = 3.4445, -4.7750, 2.0315
"""The source's coefficients of the Newton-Schulz iteration, which bring singular values near 1."""


class Muon(torch.optim.Optimizer):
    """Updates kernels [channels out, channels in, height, width], each as a matrix with one row per channel out.

    There is no weight decay: batch normalisation follows each kernel, so that its norm has no effect.
    """

    def __init__(self, kernels: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(kernels, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                momentum = state["momentum"].lerp_(kernel.grad, 1 - MOMENTUM)
                nesterov = kernel.grad.lerp(momentum, MOMENTUM)
                rows, columns = kernel.flatten(1).shape
                scale = max(1, rows / columns) ** 0.5
                kernel.add_(orthogonal(nesterov.flatten(1)).reshape(kernel.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix [rows, columns] with all singular values near 1 (0.68 to 1.14).

    Newton-Schulz: X <- (A + B XX' + C XX'XX') X. The factors are multiplied first, because they have the size of the
    shorter side; the matrix itself takes part in the first and the last product alone.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    square = matrix @ matrix.T
    factors = torch.eye(len(square), dtype=square.dtype, device=square.device)
    for _ in range(ITERATIONS):
        factor = torch.addmm(square, square, square, beta=B, alpha=C)
        factor.diagonal().add_(A)
        factors = factor @ factors
        square = factor @ square @ factor
    return factors @ matrix
