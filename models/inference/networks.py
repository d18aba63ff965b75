"""The networks, by name.

Every network maps tiles, float32 [N, 1, 28, 28] with ink 1.0 on background 0.0, to logits [N, 10].
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.inference.predictor import Tiles


class Net(nn.Module):
    """Three fully connected layers, 784 -> 512 -> 128 -> 10, with ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 512)
        self.fc2 = nn.Linear(512, 128)
        self.fc3 = nn.Linear(128, 10)

    def forward(self, tiles: Tensor) -> Tensor:
        hidden = torch.relu(self.fc1(tiles.flatten(1)))
        hidden = torch.relu(self.fc2(hidden))
        logits: Tensor = self.fc3(hidden)
        return logits


def sequential() -> nn.Sequential:
    """The layers of Net as an nn.Sequential, with the same names, so that either loads the other's weights."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            flatten=nn.Flatten(),
            fc1=nn.Linear(784, 512),
            relu1=nn.ReLU(),
            fc2=nn.Linear(512, 128),
            relu2=nn.ReLU(),
            fc3=nn.Linear(128, 10),
        )
    )


class ConvNet(nn.Module):
    """Stages of 3x3 convolutions with max pooling between them, then one linear layer.

    widths: for each stage, the channels of its convolutions. padded: for each stage, how many of its convolutions, from
    the first on, are padded; the others shrink the map, because a tile is empty at its edge and padding costs time.
    Batch normalisation follows each convolution; `fuse_batch_norm` removes it for inference.
    """

    def __init__(self, *widths: Sequence[int], padded: Sequence[int], dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 1, 28
        for stage, padded_count in zip(widths, padded, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            for index, width in enumerate(stage):
                padding = 1 if index < padded_count else 0
                layers += [
                    nn.Conv2d(channels, width, 3, padding=padding, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                ]
                channels, side = width, side - 2 + 2 * padding
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels * side * side, 10)

    def forward(self, tiles: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.features(tiles).flatten(1)))
        return logits


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "net": Net,
    "sequential": sequential,
    # The default network. In batches torch takes 0.2 ms of a core for a tile; compiled in int8 it takes 0.07 ms.
    "convnet": partial(ConvNet, (24,), (32, 48, 48), (96, 128, 128), padded=(1, 1, 1)),
    # Teachers. Forward passes cost 3.5, over 2, 12 and 22 times as much as those of convnet.
    "wide": partial(ConvNet, (32, 32), (64, 64), (128, 128, 160), padded=(2, 2, 1), dropout=0.4),
    "deep": partial(ConvNet, (32,), (48, 64, 96), (160, 192, 192), padded=(1, 1, 1), dropout=0.4),
    "large": partial(ConvNet, (64, 64), (128, 128), (192, 192, 256), padded=(2, 2, 1), dropout=0.4),
    # Without pooling (An et al. 2020, arXiv 2008.10400).
    "unpooled": partial(ConvNet, tuple(range(32, 177, 16)), padded=(0,), dropout=0.4),
}
EARLIER: dict[str, Callable[[], nn.Module]] = {
    "convnet": partial(ConvNet, (24,), (48, 48), (64, 64), padded=(1, 2, 2)),
}
"""Networks as the first release built them; their versions can still be served."""


def as_input(tiles: Tiles | Tensor, device: torch.device | str | None = None) -> Tensor:
    """Converts tiles uint8 [N, 28, 28] to a network's input, float32 [N, 1, 28, 28] in 0..1, on the device."""
    tensor = tiles if isinstance(tiles, Tensor) else torch.from_numpy(tiles)
    return tensor.to(device).unsqueeze(1).to(torch.float32).div_(255)


def create(name: str) -> nn.Module:
    """Builds a freshly initialised network. Raises ValueError for a name that is not in NETWORKS."""
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name]()


def restore(name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """Builds the network of that name, in the current or an earlier form that fits the weights, and loads them.

    Raises ValueError as `create` does, and RuntimeError for weights that fit no form.
    """
    network = create(name)
    shapes = [tensor.shape for tensor in network.state_dict().values()]
    if name in EARLIER and shapes != [tensor.shape for tensor in weights.values()]:
        network = EARLIER[name]()
    network.load_state_dict(weights)
    return network


def fuse_batch_norm(network: nn.Module) -> nn.Module:
    """Folds batch normalisation into the convolutions before it, for inference.

    Changes the network in place and returns it. The result cannot be trained further.
    """
    network.eval()
    for layers in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for i, (layer, following) in enumerate(pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
                layers[i], layers[i + 1] = nn.utils.fuse_conv_bn_eval(layer, following), nn.Identity()
    return network.requires_grad_(False)
