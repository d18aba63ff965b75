from collections.abc import Callable

import pytest
import torch

from models.inference import networks


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_every_network_gives_ten_logits(name: str) -> None:
    network = networks.create(name).eval()
    assert network(torch.rand(3, 1, 28, 28)).shape == (3, 10)


@pytest.mark.parametrize("source, target", [("net", "sequential"), ("sequential", "net")])
def test_net_and_sequential_load_each_other(source: str, target: str) -> None:
    one, other = networks.create(source), networks.create(target)
    other.load_state_dict(one.state_dict())
    tiles = torch.rand(5, 1, 28, 28)
    assert torch.equal(one(tiles), other(tiles))


def test_net_has_the_documented_layers() -> None:
    shapes = [tuple(tensor.shape) for name, tensor in networks.create("net").state_dict().items() if "weight" in name]
    assert shapes == [(512, 784), (128, 512), (10, 128)]


@pytest.mark.parametrize("build", [networks.NETWORKS["convnet"], networks.EARLIER["convnet"]])
def test_weights_of_every_release_of_convnet_load(build: Callable[[], torch.nn.Module]) -> None:
    network = build().eval()
    restored = networks.restore("convnet", network.state_dict()).eval()
    tiles = torch.rand(2, 1, 28, 28)
    assert torch.equal(restored(tiles), network(tiles))


def test_weights_of_no_release_are_refused() -> None:
    weights = networks.create("convnet").state_dict()
    weights["head.weight"] = torch.zeros(10, 7)
    with pytest.raises(RuntimeError, match=r"head\.weight"):
        networks.restore("convnet", weights)


def test_an_unknown_network_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(ValueError, match="net, sequential, convnet"):
        networks.create("resnet")


def test_fusing_batch_norm_changes_no_result() -> None:
    torch.manual_seed(0)
    network = networks.create("convnet")
    for _ in range(3):
        network(torch.rand(16, 1, 28, 28))  # gives batch normalisation something to fold
    network.eval()
    tiles = torch.rand(8, 1, 28, 28)
    with torch.inference_mode():
        before = network(tiles)
        after = networks.fuse_batch_norm(network)(tiles)
    assert torch.allclose(before, after, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
