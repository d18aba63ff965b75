import math

import pytest
import torch
from torch import Tensor, nn

from models.inference.predictor import as_input
from models.registry.registry import RELEASED, read
from training.data.mnist import Digits
from training.retraining.writer_adaptation import mapped, rewritten

TURN = math.radians(40)
SLANTED = torch.tensor([[1, 0.6], [0, 1]])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return read(RELEASED / "convnet").network.eval()


@pytest.fixture(scope="module")
def digits(training_digits: Digits) -> Digits:
    return training_digits[torch.arange(1000)]


def turn(angle: float) -> Tensor:
    """With the clock."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]])


def under(images: Tensor, map_: Tensor) -> Tensor:
    return (255 * mapped(as_input(images), map_.expand(len(images), 2, 2))[:, 0]).round().to(torch.uint8)


def misread(network: nn.Module, digits: Digits, map_: Tensor, count: int) -> Digits:
    """Under that map; what people correct."""
    found = Digits(under(digits.images, map_), digits.labels)
    with torch.inference_mode():
        wrong = network(as_input(found.images)).argmax(1) != found.labels
    return found[wrong.nonzero()[:count, 0]]


def right(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.inference_mode():
        return float((network(as_input(images)).argmax(1) == labels).float().mean())


def written(network: nn.Module, digits: Digits, corrections: Digits, seed: int = 0) -> Digits:
    return rewritten(network, digits, corrections, 400, torch.Generator().manual_seed(seed))


def test_what_is_mapped_by_nothing_stays(digits: Digits) -> None:
    tiles = as_input(digits.images)
    found = mapped(tiles, torch.eye(2).expand(len(tiles), 2, 2))
    assert (found - tiles).abs().mean() < 0.08  # a fraction of a pixel aside, mostly


def test_whatever_the_map_the_digit_keeps_to_the_convention(digits: Digits) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = torch.eye(2) + 0.6 * torch.rand(len(digits), 2, 2, generator=generator) - 0.3
    found = mapped(as_input(digits.images), maps)[:, 0]
    sides = torch.stack([(found > 0.1).any(across).sum(1) for across in (1, 2)]).amax(0)
    assert ((sides - 20).abs() <= 2).float().mean() > 0.95
    places = torch.arange(28) - 13.5
    for across in (1, 2):
        centre = (found.sum(across) * places).sum(1) / found.sum((1, 2))
        assert (centre.abs() < 0.5).float().mean() > 0.95


def test_nothing_drawn_stays_nothing() -> None:
    assert not mapped(torch.zeros(2, 1, 28, 28), torch.eye(2).expand(2, 2, 2)).any()


def test_digits_are_rewritten_as_few_corrections_are(network: nn.Module, digits: Digits) -> None:
    hand = turn(-TURN) @ SLANTED
    found = written(network, digits, misread(network, digits, hand, 8))
    assert (found.images.shape, found.images.dtype) == ((400, 28, 28), torch.uint8)
    back = right(network, under(found.images, torch.linalg.inv(hand)), found.labels)
    assert back > 0.9
    assert back > right(network, found.images, found.labels) + 0.1


def test_each_of_two_hands_has_its_share(network: nn.Module, digits: Digits) -> None:
    hands = [turn(TURN), turn(-TURN)]
    halves = [misread(network, digits, hand, 20) for hand in hands]
    corrections = Digits(*(torch.cat([getattr(half, part) for half in halves]) for part in ("images", "labels")))
    found = written(network, digits, corrections)
    ways = []
    for back in (hands[1], torch.eye(2), hands[0]):
        with torch.inference_mode():
            answers = network(as_input(under(found.images, back))).log_softmax(1)
        ways.append(answers.gather(1, found.labels[:, None])[:, 0])
    clockwise, _, against = (torch.bincount(torch.stack(ways).argmax(0), minlength=3) / len(found)).tolist()
    assert min(clockwise, against) > 0.25


def test_corrections_of_ordinary_hands_leave_digits_ordinary(network: nn.Module, digits: Digits) -> None:
    found = written(network, digits, digits[torch.arange(50)])
    assert right(network, found.images, found.labels) > 0.9


def test_the_same_seed_writes_the_same(network: nn.Module, digits: Digits) -> None:
    corrections = digits[torch.arange(3)]
    first, second, third = (written(network, digits, corrections, seed).images for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
