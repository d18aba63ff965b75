"""The networks, built by name.

Every network takes float32 [N, 1, 28, 28], ink 1.0 on background 0.0, and returns logits [N, 10].
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


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
    """The layers of Net as an nn.Sequential; named alike, so either loads the other's weights."""
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
    """3x3 convolutions in stages, between which maps are halved, and one linear layer over the last map.

    widths: of each stage the channels that its convolutions have; padded: of each stage how many of them, from the
    first on, keep the size of the map. There is nothing at the edge of a tile, and to compute it costs as much as the
    digit. Each convolution is followed by batch normalisation, which `fused` folds away for prediction.
    """

    def __init__(self, *widths: Sequence[int], padded: Sequence[int], dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 1, 28
        for stage, keeping in zip(widths, padded, strict=True):
            if layers:
                layers.append(nn.MaxPool2d(2))
                side //= 2
            for place, width in enumerate(stage):
                padding = 1 if place < keeping else 0
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


def convnet() -> ConvNet:
    """The default: as much as a core computes in 0.2 ms a tile, in batches."""
    return ConvNet((24,), (32, 48, 48), (96, 128, 128), padded=(1, 1, 1))


def wide() -> ConvNet:
    """Three and a half times the work, to teach the default one."""
    return ConvNet((32, 32), (64, 64), (128, 128, 160), padded=(2, 2, 1), dropout=0.4)


def deep() -> ConvNet:
    """Well over twice the work, to teach it as well: those who are built alike err alike."""
    return ConvNet((32,), (48, 64, 96), (160, 192, 192), padded=(1, 1, 1), dropout=0.4)


def large() -> ConvNet:
    """Twelve times the work: a teacher that takes hours of a processor, or minutes of a GPU."""
    return ConvNet((64, 64), (128, 128), (192, 192, 256), padded=(2, 2, 1), dropout=0.4)


def unpooled() -> ConvNet:
    """Twenty-two times the work, as built by An and others 2020, arXiv 2008.10400: maps shrink at their edges alone."""
    return ConvNet(tuple(range(32, 177, 16)), padded=(0,), dropout=0.4)


def first_convnet() -> ConvNet:
    """What `convnet` was at first: versions of that time are still served."""
    return ConvNet((24,), (48, 48), (64, 64), padded=(1, 2, 2))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "net": Net,
    "sequential": sequential,
    "convnet": convnet,
    "wide": wide,
    "deep": deep,
    "large": large,
    "unpooled": unpooled,
}
FORMER: dict[str, list[Callable[[], nn.Module]]] = {"convnet": [first_convnet]}


def create(name: str) -> nn.Module:
    """A freshly initialised network. Raises ValueError for a name that is not in NETWORKS."""
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]()


def restore(name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of that name that has weights of these shapes, now or formerly, with these weights.

    Raises ValueError as `create`, and RuntimeError for weights that do not fit.
    """
    network = create(name)
    for build in FORMER.get(name, []):
        if _shapes(network.state_dict()) != _shapes(weights):
            network = build()
    network.load_state_dict(weights)
    return network


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in weights.items()}


def fuse_batch_norm(network: nn.Module) -> nn.Module:
    """The same function for prediction alone: batch normalisation folded into the convolutions before it.

    Changes the network in place and returns it; it can not be trained any further.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _fold_batch_norm(module)
    return network.requires_grad_(False)


def _fold_batch_norm(layers: nn.Sequential) -> None:
    for i in range(len(layers) - 1):
        convolution, norm = layers[i], layers[i + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            layers[i] = nn.utils.fuse_conv_bn_eval(convolution, norm)
            layers[i + 1] = nn.Identity()
