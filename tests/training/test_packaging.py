import numpy as np
import pytest
import torch

from models.inference import networks, parity
from models.registry.manifest import Manifest
from training import held_out, packaging, precision
from training.data.mnist import Digits
from training.packaging import Package


@pytest.fixture(autouse=True)
def few_outliers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes seconds."""
    monkeypatch.setattr(held_out, "OUTLIERS", 28)
    monkeypatch.setattr(packaging, "SCALING_TILES", 28)


@pytest.fixture
def untrained(training_digits: Digits) -> Package:
    torch.manual_seed(0)
    network = networks.create("convnet").train()
    return packaging.package(network, training_digits[torch.arange(400)], training_digits[torch.arange(400, 600)])


def test_the_weights_are_those_before_the_network_is_taken_over(untrained: Package, training_digits: Digits) -> None:
    restored = networks.create("convnet")
    restored.load_state_dict(untrained.weights)
    restored.eval()
    images = training_digits.images[:20]
    with torch.inference_mode():
        expected = restored(images.unsqueeze(1) / 255).numpy()
    assert abs(untrained.predictor("torch").logits(images.numpy()) - expected).max() < 1e-4


def test_weights_and_compiled_model_have_calibration_metrics_and_answers_of_their_own(untrained: Package) -> None:
    manifest = untrained.describe(Manifest(network="convnet", metrics={"gate": {}}))
    assert set(manifest.metrics) == {"held_out", "gate"}
    assert manifest.metrics["held_out"]["images"] == manifest.compiled.metrics["held_out"]["images"] == 200
    assert manifest.compiled.metrics["against_weights"]["digits"]["tiles"] == 800
    assert manifest.calibration != manifest.compiled.calibration
    for described, runtime in ((manifest, "torch"), (manifest.compiled, "auto")):
        predictor = untrained.predictor(runtime)
        assert predictor.calibration == described.calibration
        assert np.abs(parity.answers(predictor) - described.answers).max() < 1e-6


def test_a_network_that_int_8_makes_worse_is_compiled_in_float_32(
    training_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "MARGIN", -1)
    torch.manual_seed(0)
    digits = training_digits[torch.arange(400)]
    found = packaging.package(networks.create("net"), digits, digits)
    assert found.compiled.precision == "float32"
    assert "because int8 is worse at digits" in found.lines()[-1]
    tiles = digits.images.numpy()
    assert abs(found.predictor("auto").logits(tiles) - found.predictor("torch").logits(tiles)).max() < 1e-5


def test_a_teacher_is_not_compiled(training_digits: Digits) -> None:
    digits = training_digits[torch.arange(400)]
    found = packaging.package(networks.create("net"), digits, digits, compiled=False)
    assert found.content is None
    assert found.describe(Manifest(network="net")).compiled is None
    assert found.predictor("auto").runtime == "torch"


def test_the_same_digits_give_the_same_scaling_tiles_of_all_kinds(training_digits: Digits) -> None:
    digits = training_digits[torch.arange(1000)]
    found = packaging.scaling_tiles(digits)
    assert np.array_equal(found, packaging.scaling_tiles(digits))
    assert found.dtype == np.uint8
    assert len(found) > 3.9 * packaging.SCALING_TILES  # an outlier may turn out empty


def test_the_manifest_s_data_and_libraries_are_named(training_digits: Digits) -> None:
    digits, held_out = training_digits[torch.arange(20)], training_digits[torch.arange(20, 30)]
    found = packaging.dataset(digits, held_out)
    assert found["trained_on_sha256"] == digits.fingerprint()
    assert found["held_out_sha256"] == held_out.fingerprint()
    assert set(packaging.libraries()) == {"python", "torch", "torchvision", "numpy", "pillow"}
