"""The networks, built by name.

Every network takes float32 [N, 1, 28, 28], ink 1.0 on background 0.0, and returns logits [N, 10].
"""

from collections import OrderedDict
from collections.abc import Callable

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
    """Five 3x3 convolutions at 28, 14 and 7 pixels, and one linear layer over the last map.

    Each convolution is followed by batch normalisation, which `fused` folds away for prediction.
    """

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(1, 24),
            nn.MaxPool2d(2),
            *_convolution(24, 48),
            *_convolution(48, 48),
            nn.MaxPool2d(2),
            *_convolution(48, 64),
            *_convolution(64, 64),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(64 * 7 * 7, 10)

    def forward(self, tiles: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.features(tiles).flatten(1)))
        return logits


def _convolution(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]


NETWORKS: dict[str, Callable[[], nn.Module]] = {"net": Net, "sequential": sequential, "convnet": ConvNet}


def create(name: str) -> nn.Module:
    """A freshly initialised network. Raises ValueError for a name that is not in NETWORKS."""
    if name not in NETWORKS:
        raise ValueError(f"no network is called {name!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[name]()


def fused(network: nn.Module) -> nn.Module:
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
