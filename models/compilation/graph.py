"""A network as an ONNX graph, which ONNX Runtime computes without torch.

One input, `tiles`, uint8 [N, 28, 28] with ink 255 on background 0; one output, `logits`, float32 [N, 10].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import nn

from models.inference.networks import ConvNet, Net
from models.inference.onnx_predictor import LOGITS, TILES
from models.preprocessing.normalise import TILE_SIDE

OPSET, IR_VERSION = 13, 7
"""The lowest opset that quantises weights per channel, and an IR version of its time."""

MAX_WEIGHT = 64
"""Weights have 7 bits. A processor without VNNI adds two products of a byte and a weight in 16 bits, and with 8 bits
that sum saturates."""
MAX_BIAS = 2**30

Array = Any
Layers = Sequence[tuple[str, nn.Module]]
"""Layers by name, in the order in which tiles pass them."""
Scales = Mapping[str, float]
"""What a step of each ReLU's quantised output is worth, by the ReLU's name."""


def layers_of(network: nn.Module) -> Layers:
    """The layers of a network of models/inference/networks.py, without those that do nothing at inference."""
    if isinstance(network, ConvNet):
        features = [(f"features.{name}", layer) for name, layer in network.features.named_children()]
        layers = [*features, ("flatten", nn.Flatten()), ("head", network.head)]
    elif isinstance(network, Net):
        first, second = [("fc1", network.fc1), ("relu1", nn.ReLU())], [("fc2", network.fc2), ("relu2", nn.ReLU())]
        layers = [("flatten", nn.Flatten()), *first, *second, ("fc3", network.fc3)]
    else:
        layers = list(network.named_children())
    return [(name, layer) for name, layer in layers if not isinstance(layer, nn.Identity | nn.Dropout)]


def build(layers: Layers, scales: Scales | None = None) -> onnx.ModelProto:
    """The graph of these layers, into which batch normalisation was folded.

    With scales, all layers but the last compute in int8. Raises TypeError for a layer that no network of ours has.
    """
    graph = _Graph()
    others = list(layers)
    if isinstance(others[0][1], nn.Flatten):
        graph.add(*others.pop(0))
    else:
        graph.add_channel()
    graph.dequantise("ink", 1 / 255)
    for name, layer in others[:-1]:
        graph.add(name, layer, scales)
    graph.add(*others[-1])
    return graph.model()


class _Graph:
    """Nodes in a row, each of which takes the output of the one before.

    In int8, ONNX Runtime fuses a layer with the nodes that dequantise its inputs and quantise its output.
    """

    def __init__(self) -> None:
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []
        self._tensor = TILES
        self._scale = 1.0  # of the last quantised tensor

    def add_channel(self) -> None:
        self._node("Unsqueeze", "channel", self._constant("axes", np.array([1])))

    def add(self, name: str, layer: nn.Module, scales: Scales | None = None) -> None:
        match layer:
            case nn.Conv2d():
                padding = [*layer.padding, *layer.padding]
                self._node("Conv", name, *self._parameters(name, layer, int8=bool(scales)), pads=padding)
            case nn.Linear():
                self._node("Gemm", name, *self._parameters(name, layer, int8=bool(scales)), transB=1)
            case nn.ReLU() if scales:  # bytes are not negative
                self._quantise(name, scales[name])
            case nn.ReLU():
                self._node("Relu", name)
            case nn.MaxPool2d():
                self._node("MaxPool", name, kernel_shape=[layer.kernel_size] * 2, strides=[layer.stride] * 2)
                if scales:
                    self._quantise(name, self._scale)
            case nn.Flatten():
                self._node("Flatten", name)
            case _:
                raise TypeError(f"{name} is a {type(layer).__name__}, which the compiler does not know")

    def dequantise(self, name: str, scale: float) -> None:
        self._scale = scale
        self._node("DequantizeLinear", name, *self._quantisation(name, np.float32(scale), np.uint8(0)))

    def model(self) -> onnx.ModelProto:
        self._nodes[-1].output[0] = LOGITS
        tiles = helper.make_tensor_value_info(TILES, TensorProto.UINT8, ["N", TILE_SIDE, TILE_SIDE])
        logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", 10])
        graph = helper.make_graph(self._nodes, "inkling", [tiles], [logits], self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="inkling")

    def _quantise(self, name: str, scale: float) -> None:
        """Quantises the tensor, and dequantises it for the next layer."""
        self._node("QuantizeLinear", name, *self._quantisation(f"{name}.quantised", np.float32(scale), np.uint8(0)))
        self.dequantise(name, scale)

    def _parameters(self, name: str, layer: nn.Conv2d | nn.Linear, int8: bool) -> list[str]:
        """The layer's weight and bias; in int8 each output channel has a scale of its own."""
        weight, bias = f"{name}.weight", f"{name}.bias"
        weights, biases = (layer.get_parameter(key).numpy() for key in ("weight", "bias"))
        if not int8:
            return [self._constant(weight, weights), self._constant(bias, biases)]
        rows = weights.reshape(len(weights), -1)
        # Where weights are tiny the bias decides, as it must fit into 32 bits.
        scales = np.maximum(np.abs(rows).max(axis=1) / MAX_WEIGHT, np.abs(biases) / (MAX_BIAS * self._scale))
        scales = scales.clip(1e-20)
        bytes_ = np.rint(rows / scales[:, None]).astype(np.int8).reshape(weights.shape)
        words = np.rint(biases / (self._scale * scales)).astype(np.int32)
        return [self._dequantised(weight, bytes_, scales), self._dequantised(bias, words, self._scale * scales)]

    def _dequantised(self, name: str, values: Array, scales: Array) -> str:
        parameters = self._quantisation(name, scales.astype(np.float32), np.zeros(len(values), values.dtype))
        return self._output("DequantizeLinear", name, self._constant(name, values), *parameters, axis=0)

    def _quantisation(self, name: str, scale: Array, zero_point: Array) -> list[str]:
        """The parameters of a node. Zero points are 0, but ONNX Runtime fuses no node that leaves them out."""
        return [self._constant(f"{name}.scale", scale), self._constant(f"{name}.zero_point", zero_point)]

    def _node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> None:
        self._tensor = self._output(operator, name, self._tensor, *inputs, **attributes)

    def _output(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node and returns the name of its output."""
        self._nodes.append(helper.make_node(operator, inputs, [f"{name}.{operator}"], **attributes))
        return f"{name}.{operator}"

    def _constant(self, name: str, values: Array) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name
