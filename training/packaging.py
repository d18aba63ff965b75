"""Prepares a trained network for its version: weights, calibration, and the manifest's data and libraries."""

import importlib.metadata
import platform
from typing import Any

import torch
from torch import Tensor, nn

from models.inference.calibration import Calibration
from models.inference.networks import as_input
from models.inference.predictor import Predictor
from models.inference.torch_predictor import TorchPredictor
from training import calibrate, scoring
from training.data import mnist
from training.data.augment import distort
from training.data.mnist import Digits

COPIES, DISTORTED = 2, 0.5
"""Distorted copies of each held-out digit to calibrate on, and their strength: undistorted, hardly any is misread."""


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the state_dict, as CPU tensors."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


def calibrated(network: nn.Module, held_out: Digits) -> Predictor:
    """A predictor on the CPU, calibrated on the held-out digits. It fuses the network for inference in place."""
    predictor = TorchPredictor(network, Calibration(), "candidate")
    generator = torch.Generator().manual_seed(0)
    copies = [_distorted(held_out, generator) for _ in range(COPIES)]
    logits = [scoring.logits_of(predictor, digits) for digits in (held_out, *copies)]
    predictor.calibration = calibrate.calibrate(logits[0], held_out.labels.numpy(), logits[1:])
    return predictor


def _distorted(digits: Digits, generator: torch.Generator) -> Digits:
    tiles = torch.cat([distort(as_input(images), generator, DISTORTED) for images in digits.images.split(500)])
    return Digits.from_floats(tiles, digits.labels)


def dataset(digits: Digits, held_out: Digits) -> dict[str, Any]:
    """The manifest's checksums of the training data and of the held-out digits."""
    return {
        "name": "MNIST",
        "held_out": mnist.HELD_OUT,
        "held_out_list_sha256": mnist.held_out_sha256(),
        "held_out_sha256": held_out.fingerprint(),
        "trained_on_sha256": digits.fingerprint(),
    }


def libraries() -> dict[str, str]:
    """The versions of Python and of the libraries that the weights depend on."""
    names = ("torch", "torchvision", "numpy", "pillow")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in names}}
