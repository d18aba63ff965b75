"""Muon for the kernels of convolutions: momentum of which each step is made orthogonal.

After Jordan and others 2024 (https://kellerjordan.github.io/posts/muon/). A gradient's few strong directions drown the
others; made orthogonal, a step moves all alike, and a convolution learns in two epochs what otherwise takes many.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ROUNDS, A, B, C = 5, 3.4445, -4.7750, 2.0315
"""Of the iteration, and its polynomial's coefficients: those of the source, which bring singular values close to 1."""


class Muon(torch.optim.Optimizer):
    """Updates kernels [channels out, channels in, height, width]; each is one matrix with a row for a channel out.

    Nothing decays: the batch normalisation behind a kernel makes its size meaningless.
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
                ahead = kernel.grad.lerp(momentum, MOMENTUM)  # Nesterov's
                rows, columns = kernel.flatten(1).shape
                scale = max(1, rows / columns) ** 0.5
                kernel.add_(orthogonal(ahead.flatten(1)).reshape(kernel.shape), alpha=-group["lr"] * scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix [rows, columns] with all its singular values brought to about 1 (0.68 to 1.14).

    The iteration X <- (A + B XX' + C XX'XX') X by Newton and Schulz, of which the factors are multiplied first: they
    have the shorter side's size, so that the matrix itself takes part in the first product and in the last alone.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    square = matrix @ matrix.T
    factors = torch.eye(len(square), dtype=square.dtype, device=square.device)
    for _ in range(ROUNDS):
        factor = torch.addmm(square, square, square, beta=B, alpha=C)
        factor.diagonal().add_(A)
        factors = factor @ factors
        square = factor @ square @ factor
    return factors @ matrix
