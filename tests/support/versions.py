"""Saved versions to activate."""

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from models.compilation.compiler import compile_network
from models.inference import networks, parity
from models.inference.calibration import Calibration
from models.inference.onnx_predictor import OnnxPredictor
from models.registry.manifest import CompiledModel, Manifest
from models.registry.registry import ModelRegistry


@cache
def compiled(name: str = "net", seed: int = 5) -> tuple[Mapping[str, Tensor], Manifest, bytes]:
    """An untrained network, compiled in float32: what `ModelRegistry.write` takes."""
    torch.manual_seed(seed)
    network = networks.create(name).eval()
    data = compile_network(network)
    answers = parity.answers(OnnxPredictor(data, Calibration(), name, "float32")).tolist()
    described = CompiledModel(precision="float32", calibration=Calibration(), answers=answers)
    return network.state_dict(), Manifest(network=name, answers=answers, compiled=described), data


def another(saved: ModelRegistry) -> str:
    """The name of a new, untrained version."""
    return saved.write(*compiled())
