import pytest
import torch

from models.inference import networks
from models.inference.calibration import Calibration
from training import packaging
from training.data.mnist import Digits


def test_the_weights_are_those_before_the_network_is_taken_over(training_digits: Digits) -> None:
    held_out = training_digits[torch.arange(300)]
    torch.manual_seed(0)
    network = networks.create("convnet")
    network.train()
    weights = packaging.weights_of(network)
    predictor = packaging.calibrated(network, held_out)
    restored = networks.create("convnet")
    restored.load_state_dict(weights)
    restored.eval()
    with torch.inference_mode():
        expected = restored(held_out.images.unsqueeze(1) / 255).numpy()
    assert abs(predictor.logits(held_out.images.numpy()) - expected).max() < 1e-4


def test_it_is_calibrated_on_the_digits_and_on_distorted_copies(
    training_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    weights = networks.create("net").state_dict()
    found = []
    for copies in (0, packaging.COPIES):
        network = networks.create("net")
        network.load_state_dict(weights)
        monkeypatch.setattr(packaging, "COPIES", copies)
        found.append(packaging.calibrated(network, training_digits[torch.arange(300)]).calibration)
    plain, copied = found
    assert plain.threshold != Calibration().threshold
    assert copied.temperature != plain.temperature


def test_the_manifest_s_data_and_libraries_are_named(training_digits: Digits) -> None:
    digits, held_out = training_digits[torch.arange(20)], training_digits[torch.arange(20, 30)]
    found = packaging.dataset(digits, held_out)
    assert found["trained_on_sha256"] == digits.fingerprint()
    assert found["held_out_sha256"] == held_out.fingerprint()
    assert set(packaging.libraries()) == {"python", "torch", "torchvision", "numpy", "pillow"}
