"""Compiles a network for CPUs: `model.onnx`, which ONNX Runtime computes without torch."""

import copy

from torch import nn

from models.compilation import graph, quantisation
from models.inference import networks
from models.inference.predictor import Tiles


def compile_network(network: nn.Module, calibration_tiles: Tiles | None = None) -> bytes:
    """The bytes of model.onnx, in float32, or in int8 where there are tiles [N, 28, 28] to choose its scales by.

    The network stays as it is.
    """
    layers = graph.layers_of(networks.fuse_batch_norm(copy.deepcopy(network).cpu()))
    scales = None if calibration_tiles is None else quantisation.scales_of(layers, calibration_tiles)
    data: bytes = graph.build(layers, scales).SerializeToString()
    return data
