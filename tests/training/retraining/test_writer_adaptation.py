import math

import pytest
import torch
from torch import Tensor, nn

from models.inference.networks import as_input
from models.registry.registry import RELEASED
from models.registry.version_files import read
from training.data.mnist import Digits
from training.retraining.writer_adaptation import restyled, transformed

pytestmark = pytest.mark.processes

TURN = math.radians(40)
SLANTED = torch.tensor([[1, 0.6], [0, 1]])


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return read(RELEASED / "convnet").network().eval()


@pytest.fixture(scope="module")
def digits(training_digits: Digits) -> Digits:
    return training_digits[torch.arange(1000)]


def turn(angle: float) -> Tensor:
    """Rotates clockwise."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]])


def under(images: Tensor, transform: Tensor) -> Tensor:
    return (255 * transformed(as_input(images), transform.expand(len(images), 2, 2))[:, 0]).round().to(torch.uint8)


def misread(network: nn.Module, digits: Digits, transform: Tensor, count: int) -> Digits:
    """Transformed digits that the network misreads, as people would correct them."""
    found = Digits(under(digits.images, transform), digits.labels)
    with torch.inference_mode():
        wrong = network(as_input(found.images)).argmax(1) != found.labels
    return found[wrong.nonzero()[:count, 0]]


def right(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.inference_mode():
        return float((network(as_input(images)).argmax(1) == labels).float().mean())


def restyle(network: nn.Module, digits: Digits, feedback: Digits, seed: int = 0) -> Digits:
    return restyled(network, digits, feedback, 400, torch.Generator().manual_seed(seed))


def test_the_identity_hardly_changes_tiles(digits: Digits) -> None:
    tiles = as_input(digits.images)
    found = transformed(tiles, torch.eye(2).expand(len(tiles), 2, 2))
    assert (found - tiles).abs().mean() < 0.08  # most move by a fraction of a pixel


def test_transformed_digits_are_framed_as_mnists_are(digits: Digits) -> None:
    generator = torch.Generator().manual_seed(0)
    transforms = torch.eye(2) + 0.6 * torch.rand(len(digits), 2, 2, generator=generator) - 0.3
    found = transformed(as_input(digits.images), transforms)[:, 0]
    sides = torch.stack([(found > 0.1).any(across).sum(1) for across in (1, 2)]).amax(0)
    assert ((sides - 20).abs() <= 2).float().mean() > 0.95
    places = torch.arange(28) - 13.5
    for across in (1, 2):
        centre = (found.sum(across) * places).sum(1) / found.sum((1, 2))
        assert (centre.abs() < 0.5).float().mean() > 0.95


def test_an_empty_tile_stays_empty() -> None:
    assert not transformed(torch.zeros(2, 1, 28, 28), torch.eye(2).expand(2, 2, 2)).any()


def test_digits_are_restyled_after_eight_feedback_images(network: nn.Module, digits: Digits) -> None:
    style = turn(-TURN) @ SLANTED
    found = restyle(network, digits, misread(network, digits, style, 8))
    assert (found.images.shape, found.images.dtype) == ((400, 28, 28), torch.uint8)
    back = right(network, under(found.images, torch.linalg.inv(style)), found.labels)
    assert back > 0.9
    assert back > right(network, found.images, found.labels) + 0.1


def test_two_writers_get_a_transform_each(network: nn.Module, digits: Digits) -> None:
    styles = [turn(TURN), turn(-TURN)]
    halves = [misread(network, digits, style, 20) for style in styles]
    feedback = Digits(*(torch.cat([getattr(half, part) for half in halves]) for part in ("images", "labels")))
    found = restyle(network, digits, feedback)
    ways = []
    for back in (styles[1], torch.eye(2), styles[0]):
        with torch.inference_mode():
            answers = network(as_input(under(found.images, back))).log_softmax(1)
        ways.append(answers.gather(1, found.labels[:, None])[:, 0])
    clockwise, _, against = (torch.bincount(torch.stack(ways).argmax(0), minlength=3) / len(found)).tolist()
    assert min(clockwise, against) > 0.25


def test_feedback_in_ordinary_handwriting_leaves_digits_readable(network: nn.Module, digits: Digits) -> None:
    found = restyle(network, digits, digits[torch.arange(50)])
    assert right(network, found.images, found.labels) > 0.9


def test_restyling_depends_on_the_seed_alone(network: nn.Module, digits: Digits) -> None:
    feedback = digits[torch.arange(3)]
    first, second, third = (restyle(network, digits, feedback, seed).images for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
