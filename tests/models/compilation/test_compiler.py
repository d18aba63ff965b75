from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from models.compilation.compiler import compile_network
from models.inference.networks import EARLIER, NETWORKS, as_input

BUILD = [*NETWORKS.values(), *EARLIER.values()]
NAMES = [*NETWORKS, *(f"earlier {name}" for name in EARLIER)]


def trained(build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose batch normalisation is not the identity."""
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


def tiles(count: int, seed: int = 0) -> np.ndarray:
    """Tiles of random blots."""
    blots = np.random.default_rng(seed).integers(0, 256, (count, 7, 7), np.uint8)
    blots[blots < 100] = 0
    return np.kron(blots, np.ones((1, 4, 4), np.uint8))


def logits(compiled: bytes, inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(compiled, providers=["CPUExecutionProvider"])
    (source,), (target,) = session.get_inputs(), session.get_outputs()
    assert (source.name, source.type, source.shape) == ("tiles", "tensor(uint8)", ["N", 28, 28])
    assert (target.name, target.type, target.shape) == ("logits", "tensor(float)", ["N", 10])
    return session.run(None, {"tiles": inputs})[0]


def expected(network: nn.Module, inputs: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network.eval()(as_input(inputs)).numpy()


@pytest.mark.parametrize("build", BUILD, ids=NAMES)
def test_in_float32_every_network_gives_the_logits_of_its_weights(build: Callable[[], nn.Module]) -> None:
    network = trained(build)
    compiled = compile_network(network)
    onnx.checker.check_model(onnx.load_model_from_string(compiled), full_check=True)
    assert np.abs(logits(compiled, tiles(5)) - expected(network, tiles(5))).max() < 1e-5


@pytest.mark.parametrize("build", BUILD, ids=NAMES)
def test_in_int8_the_logits_are_near_those_of_the_weights(build: Callable[[], nn.Module]) -> None:
    network = trained(build)
    compiled = compile_network(network, tiles(64, seed=1))
    onnx.checker.check_model(onnx.load_model_from_string(compiled), full_check=True)
    exact = expected(network, tiles(20))
    assert np.abs(logits(compiled, tiles(20)) - exact).max() < 0.1 * np.ptp(exact)
    assert len(compiled) < 0.5 * len(compile_network(network))


def test_the_network_stays_as_it_is() -> None:
    network = trained(NETWORKS["convnet"])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compile_network(network.train(), tiles(2))
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_channels_without_weights_and_with_large_biases_are_quantised() -> None:
    network = NETWORKS["net"]()
    with torch.no_grad():
        network.fc1.weight[0], network.fc1.bias[0] = 0, 0
        network.fc1.weight[1], network.fc1.bias[1] = 1e-12, 100
        network.fc2.weight[:], network.fc2.bias[:] = 0, -1  # so that no output of its ReLU is above 0
    assert np.isfinite(logits(compile_network(network, tiles(3)), tiles(3))).all()


def test_a_layer_that_no_network_has_is_refused() -> None:
    with pytest.raises(TypeError, match="1 is a GELU, which the compiler does not know"):
        compile_network(nn.Sequential(nn.Flatten(), nn.GELU(), nn.Linear(784, 10)))
