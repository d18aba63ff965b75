import pytest
import torch
import torch.nn.functional as F

from models.inference import networks
from training import teachers
from training.teachers import TEMPERATURE, Teachers

CPU = torch.device("cpu")


@pytest.fixture
def trained() -> list[torch.nn.Module]:
    """Two networks that are sure of what they say."""
    torch.manual_seed(0)
    made = [networks.create("net") for _ in range(2)]
    for network in made:
        network.fc3.weight.data *= 20
    return made


def test_the_answers_are_the_mean_of_the_softened_probabilities(trained: list[torch.nn.Module]) -> None:
    tiles = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        expected = torch.stack([F.softmax(network(tiles) / TEMPERATURE, dim=1) for network in trained]).mean(0)
    answers = Teachers(trained, CPU).answers(tiles)
    assert answers.dtype == torch.float32
    assert torch.allclose(answers.sum(1), torch.ones(5), atol=1e-5)
    assert torch.allclose(answers, expected, atol=0.02)  # they may compute in bfloat16


def test_the_distance_is_that_of_softened_probabilities_times_the_square_of_the_temperature() -> None:
    logits, answers = torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    own = torch.tensor([[1.0, 0.0]]).softmax(1)[0]  # 4 / TEMPERATURE
    divergence = (answers[0] * (answers[0] / own).log()).sum()
    assert teachers.distance(logits, answers).item() == pytest.approx(16 * divergence.item() / 2, rel=1e-5)


def test_nothing_is_learned_from_who_answers_alike_and_most_from_who_differs_most(
    trained: list[torch.nn.Module],
) -> None:
    tiles = torch.rand(5, 1, 28, 28)
    with torch.no_grad():
        own = trained[0](tiles)
        answers = Teachers(trained[:1], CPU).answers(tiles)
    alike, other = own.clone().requires_grad_(), own.roll(1, dims=1).requires_grad_()
    distances = [teachers.distance(logits, answers) for logits in (alike, other)]
    for distance in distances:
        distance.backward()
    assert distances[0] < 0.01
    assert distances[1] > 100 * distances[0]
    assert alike.grad is not None and other.grad is not None
    assert other.grad.abs().max() > 10 * alike.grad.abs().max()
