"""Prepares a trained network for its version: weights, compiled model, and what the manifest says of them."""

import hashlib
import importlib.metadata
import platform
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.compilation.compiler import compile_network
from models.inference import parity
from models.inference.calibration import Calibration
from models.inference.onnx_predictor import OnnxPredictor
from models.inference.predictor import Predictor, Tiles
from models.inference.runtimes import Runtime
from models.inference.torch_predictor import TorchPredictor
from models.registry.manifest import CompiledModel, Manifest, Precision
from training import precision
from training.data import mnist
from training.data.mnist import Digits
from training.data.synthetic import outliers
from training.held_out import HeldOut, Measurement, copies, measure
from training.progress import Report

SCALING_TILES = 256
"""Training tiles of each kind, by which int8 is scaled."""


@dataclass(frozen=True)
class Compiled:
    """The content of `model.onnx`. objection: why it is not in int8."""

    content: bytes
    precision: Precision
    measured: Measurement
    objection: str | None = None


@dataclass(frozen=True)
class Package:
    """A trained network, measured by its weights and as it was compiled. weights: its state_dict as CPU tensors."""

    weights: dict[str, Tensor]
    measured: Measurement
    compiled: Compiled | None

    @property
    def content(self) -> bytes | None:
        return self.compiled.content if self.compiled else None

    def predictor(self, runtime: Runtime) -> Predictor:
        """What answers on a CPU where that runtime is set."""
        return (
            self.measured.predictor if self.compiled is None or runtime == "torch" else self.compiled.measured.predictor
        )

    def describe(self, manifest: Manifest) -> Manifest:
        """The manifest with the calibration, metrics and answers of both."""
        found: dict[str, Any] = {
            "calibration": self.measured.predictor.calibration,
            "metrics": {"held_out": self.measured.metrics, **manifest.metrics},
            "answers": _answers(self.measured.predictor),
        }
        if self.compiled:
            measured = self.compiled.measured
            found["compiled"] = CompiledModel(
                precision=self.compiled.precision,
                sha256=hashlib.sha256(self.compiled.content).hexdigest(),
                calibration=measured.predictor.calibration,
                metrics={"held_out": measured.metrics, "against_weights": precision.summary(self.measured, measured)},
                answers=_answers(measured.predictor),
            )
        return manifest.model_copy(update=found)

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"held out: {_shown(self.measured.metrics)}"]
        if self.compiled:
            reason = f", because int8 is {self.compiled.objection}" if self.compiled.objection else ""
            lines.append(f"compiled in {self.compiled.precision}{reason}: {_shown(self.compiled.measured.metrics)}")
        return lines


def package(network: nn.Module, digits: Digits, held_out: Digits, compiled: bool = True) -> Package:
    """Calibrates, and compiles if asked to, a network that was trained on `digits`; fuses it for inference in place."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
    tiles = HeldOut.draw(held_out)
    measured = measure(TorchPredictor(network, Calibration(), "candidate"), tiles)
    return Package(weights, measured, _compile(network, digits, tiles, measured) if compiled else None)


def _compile(network: nn.Module, digits: Digits, tiles: HeldOut, weights: Measurement) -> Compiled:
    content = compile_network(network, scaling_tiles(digits))
    measured = measure(OnnxPredictor(content, Calibration(), "candidate", "int8"), tiles)
    objection = precision.objection(weights, measured)
    if objection is None:
        return Compiled(content, "int8", measured)
    content = compile_network(network)
    measured = measure(OnnxPredictor(content, Calibration(), "candidate", "float32"), tiles)
    return Compiled(content, "float32", measured, objection)


def scaling_tiles(digits: Digits) -> Tiles:
    """Training digits, distorted and damaged ones, and tiles of no digit; the same digits give the same tiles."""
    generator = torch.Generator().manual_seed(0)
    chosen = digits[torch.randperm(len(digits), generator=generator)[:SCALING_TILES]]
    copied = [copies(chosen, generator, damaged).images for damaged in (0.0, 1.0)]
    drawn = outliers.bank(digits, SCALING_TILES, 0, Report(quiet=True))
    return torch.cat([chosen.images, *copied, drawn]).numpy()


def _answers(predictor: Predictor) -> list[list[float]]:
    answers: list[list[float]] = parity.answers(predictor).round(6).tolist()
    return answers


def _shown(metrics: dict[str, float | int]) -> str:
    return (
        f"{metrics['accuracy']:.2%} right, negative log-likelihood {metrics['negative_log_likelihood']:.4f}, "
        f"{metrics['answered']:.1%} with the verdict `digit`"
    )


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
