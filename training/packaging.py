"""A trained network on its way to being a version: what is saved of it, and what its manifest says."""

import importlib.metadata
import platform
from typing import Any

import torch
from torch import Tensor, nn

from models.inference.calibration import Calibration
from models.inference.predictor import Predictor, as_input
from training import calibrate, scoring
from training.data import mnist
from training.data.augment import distort
from training.data.mnist import Digits

COPIES, DISTORTED = 2, 0.5
"""How often, and how far, held-out digits are distorted to calibrate on: as they are hardly any are misread."""


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """The state_dict as CPU tensors of its own, which nothing done to the network later changes."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def calibrated(network: nn.Module, held_out: Digits) -> Predictor:
    """Takes the network over, on the CPU, and calibrates it on the held-out digits."""
    predictor = Predictor(network, Calibration(), "candidate", torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    copies = [_distorted(held_out, generator) for _ in range(COPIES)]
    logits = [scoring.logits_of(predictor, digits) for digits in (held_out, *copies)]
    predictor.calibration = calibrate.calibrate(logits[0], held_out.labels.numpy(), logits[1:])
    return predictor


def _distorted(digits: Digits, generator: torch.Generator) -> Digits:
    tiles = torch.cat([distort(as_input(images), generator, DISTORTED) for images in digits.images.split(500)])
    return Digits.of_input(tiles, digits.labels)


def dataset(digits: Digits, held_out: Digits) -> dict[str, Any]:
    """What a manifest says of the data: checksums of what was trained on, and of what was not."""
    return {
        "name": "MNIST",
        "held_out": mnist.HELD_OUT,
        "held_out_list_sha256": mnist.held_out_sha256(),
        "held_out_sha256": held_out.fingerprint(),
        "trained_on_sha256": digits.fingerprint(),
    }


def libraries() -> dict[str, str]:
    """The versions of Python and of the libraries that weights depend on, by name."""
    names = ("torch", "torchvision", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
