import numpy as np
import pytest
import torch

from models.errors import InferenceFailed
from models.inference import networks
from models.inference.calibration import Calibration
from models.inference.networks import as_input
from models.inference.torch_predictor import TorchPredictor
from models.registry.registry import RELEASED
from models.registry.version_files import read
from tests.support.environment import CUDA
from training.data.mnist import Digits


def test_as_input_gives_what_networks_expect() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    inputs = as_input(tiles)
    assert inputs.shape == (3, 1, 28, 28)
    assert inputs.dtype == torch.float32
    assert np.allclose(inputs[:, 0].numpy(), tiles / 255)


def test_the_fields_of_a_prediction_agree() -> None:
    predictor = TorchPredictor(networks.create("convnet"), Calibration(threshold=0.2), "v7")
    for prediction in predictor.predict(np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)):
        assert sum(prediction.probabilities) == pytest.approx(1, abs=1e-9)
        assert prediction.confidence == max(prediction.probabilities) == prediction.probabilities[prediction.digit]
        assert prediction.verdict == ("digit" if prediction.confidence >= 0.2 else "unsure")
        assert prediction.model == "v7"


@CUDA
@pytest.mark.parametrize("name", ["convnet", "net"])
def test_a_gpu_agrees_with_the_cpu(name: str, test_digits: Digits) -> None:
    tiles = test_digits.images[:2_000].numpy()
    version = read(RELEASED / name)
    here, there = (version.predictor(device, "torch").predict(tiles) for device in ("cpu", "cuda"))
    assert [(one.digit, one.verdict) for one in here] == [(one.digit, one.verdict) for one in there]
    assert max(abs(one.confidence - other.confidence) for one, other in zip(here, there, strict=True)) < 0.002


def test_logits_that_are_not_finite_are_an_error() -> None:
    network = networks.create("net")
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(InferenceFailed, match="v1 gave logits that are not finite"):
        TorchPredictor(network, Calibration(), "v1").warm()


def test_a_failing_device_is_an_error() -> None:
    predictor = TorchPredictor(networks.create("net"), Calibration(), "v1")
    with pytest.raises(InferenceFailed, match="the forward pass failed on cpu"):
        predictor.logits(np.zeros((2, 30, 30), np.uint8))
