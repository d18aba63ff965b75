import pytest
import torch
import torch.nn.functional as F

from models.inference import networks
from training.distillation import TEMPERATURE, Teachers, distillation_loss

CPU = torch.device("cpu")


@pytest.fixture
def trained() -> list[torch.nn.Module]:
    """Two networks with confident answers."""
    torch.manual_seed(0)
    made = [networks.create("net") for _ in range(2)]
    for network in made:
        network.fc3.weight.data *= 20
    return made


def test_soft_targets_are_the_mean_of_the_softened_probabilities(trained: list[torch.nn.Module]) -> None:
    tiles = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected = torch.stack([F.softmax(network(tiles) / TEMPERATURE, dim=1) for network in trained]).mean(0)
    found = Teachers(trained, CPU).soft_targets(tiles)
    assert found.dtype == torch.float32
    assert torch.allclose(found.sum(1), torch.ones(5), atol=1e-5)
    assert torch.allclose(found, expected, atol=0.02)  # the teachers may compute in bfloat16


def test_the_loss_is_the_divergence_times_the_square_of_the_temperature() -> None:
    logits, targets = torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    own = torch.tensor([[1.0, 0.0]]).softmax(1)[0]  # 4 / TEMPERATURE
    divergence = (targets[0] * (targets[0] / own).log()).sum()
    assert distillation_loss(logits, targets).item() == pytest.approx(16 * divergence.item() / 2, rel=1e-5)


def test_the_loss_is_small_for_the_teacher_itself_and_large_for_other_answers(trained: list[torch.nn.Module]) -> None:
    tiles = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        own = trained[0](tiles)
        targets = Teachers(trained[:1], CPU).soft_targets(tiles)
    alike, other = own.clone().requires_grad_(), own.roll(1, dims=1).requires_grad_()
    losses = [distillation_loss(logits, targets) for logits in (alike, other)]
    for loss in losses:
        loss.backward()
    assert losses[0] < 0.01
    assert losses[1] > 100 * losses[0]
    assert alike.grad is not None and other.grad is not None
    assert other.grad.abs().max() > 10 * alike.grad.abs().max()
