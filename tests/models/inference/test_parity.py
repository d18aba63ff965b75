import numpy as np
import pytest
import torch

from models.errors import BrokenVersion
from models.inference import networks, parity
from models.inference.calibration import Calibration
from models.inference.predictor import Predictor
from models.registry.manifest import Manifest
from models.registry.registry import Version

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", list(networks.NETWORKS))
def test_a_predictor_agrees_with_its_network(name: str) -> None:
    torch.manual_seed(0)
    network = networks.create(name)
    expected = parity.answers(network)
    predictor = Predictor(network, Calibration(), "v1", CPU)
    parity.check(predictor, expected)
    assert np.allclose(predictor.logits(parity.tiles()), expected, atol=1e-4)


def test_the_fixed_tiles_differ_from_each_other_and_never_change() -> None:
    assert parity.tiles().shape == (8, 28, 28)
    assert len({tile.tobytes() for tile in parity.tiles()}) == 8
    assert np.array_equal(parity.tiles(), parity.tiles())


def test_a_predictor_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    version = Version("v7", Manifest(network="convnet"), networks.create("convnet"))
    fuse = networks.fuse_batch_norm

    def spoilt(network: torch.nn.Module) -> torch.nn.Module:
        network = fuse(network)
        network.head.bias.data[3] += 1
        return network

    monkeypatch.setattr(networks, "fuse_batch_norm", spoilt)
    with pytest.raises(BrokenVersion, match="v7 predicts differently on cpu"):
        version.predictor(CPU)


def test_logits_that_are_not_finite_are_refused() -> None:
    network = networks.create("net")
    for parameter in network.parameters():
        parameter.data.fill_(1e30)
    with pytest.raises(BrokenVersion, match=r"v7 does not predict: .*not finite"):
        Version("v7", Manifest(network="net"), network).predictor(CPU)
