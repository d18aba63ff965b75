"""Chooses the scales with which a network computes in int8, from the tiles that it will see."""

import torch
from torch import nn

from models.compilation.graph import Layers, Scales
from models.inference.networks import as_input
from models.inference.predictor import Tiles

CLIPPED = 1e-5
"""Share of a layer's outputs that are clipped. Clipping none makes the steps of all others larger."""


def scales_of(layers: Layers, tiles: Tiles) -> Scales:
    """What a step of each ReLU's output is worth, so that a byte holds all but CLIPPED of its outputs.

    tiles [N, 28, 28]: of all kinds that the network will see; about 1,000 suffice.
    """
    scales = {}
    outputs = as_input(tiles)
    with torch.inference_mode():
        for name, layer in layers:
            outputs = layer(outputs)
            if isinstance(layer, nn.ReLU):
                reach = outputs.flatten().topk(max(1, round(CLIPPED * outputs.numel()))).values[-1]
                scales[name] = max(reach.item(), 1e-6) / 255
    return scales
