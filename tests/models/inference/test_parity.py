from dataclasses import replace

import numpy as np
import pytest
import torch

from models.errors import BrokenVersion
from models.inference import networks, parity
from models.inference.calibration import Calibration
from models.inference.torch_predictor import TorchPredictor, unfused_answers
from models.registry import weights
from models.registry.manifest import Manifest
from models.registry.version_files import Version


def version(network: torch.nn.Module, name: str) -> Version:
    return Version("v7", Manifest(network=name), weights.dump(network.state_dict()))


@pytest.mark.parametrize("name", list(networks.NETWORKS))
def test_a_predictor_agrees_with_its_network(name: str) -> None:
    torch.manual_seed(0)
    network = networks.create(name)
    expected = unfused_answers(network, Calibration())
    predictor = TorchPredictor(network, Calibration(), "v1")
    parity.check(predictor, expected)
    assert np.allclose(parity.answers(predictor), expected, atol=1e-5)


def test_the_fixed_tiles_differ_from_each_other_and_never_change() -> None:
    assert parity.tiles().shape == (8, 28, 28)
    assert len({tile.tobytes() for tile in parity.tiles()}) == 8
    assert np.array_equal(parity.tiles(), parity.tiles())


def test_a_predictor_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    found = version(networks.create("convnet"), "convnet")
    fuse = networks.fuse_batch_norm

    def spoilt(network: torch.nn.Module) -> torch.nn.Module:
        network = fuse(network)
        network.head.bias.data[3] += 1
        return network

    monkeypatch.setattr(networks, "fuse_batch_norm", spoilt)
    with pytest.raises(BrokenVersion, match="v7 gives other answers to the fixed tiles with torch on cpu"):
        found.predictor()


def test_weights_that_do_not_answer_as_their_manifest_says_are_refused() -> None:
    found = version(networks.create("net"), "net")
    right = parity.answers(found.predictor()).tolist()
    replace(found, manifest=Manifest(network="net", answers=right)).predictor()
    wrong = [right[1], right[0], *right[2:]]
    with pytest.raises(BrokenVersion, match="v7 gives other answers"):
        replace(found, manifest=Manifest(network="net", answers=wrong)).predictor()


def test_logits_that_are_not_finite_are_refused() -> None:
    network = networks.create("net")
    for parameter in network.parameters():
        parameter.data.fill_(1e30)
    with pytest.raises(BrokenVersion, match=r"v7 does not predict: .*not finite"):
        version(network, "net").predictor()
