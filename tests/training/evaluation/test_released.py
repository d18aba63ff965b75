"""The metrics in the manifests of the released models, measured again."""

import pytest

from models.inference.runtimes import Runtime
from models.registry import version_files
from models.registry.registry import RELEASED
from training.data.mnist import Digits, split
from training.evaluation.answers import answer, digit_metrics
from training.evaluation.datasets import of_digits

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
@pytest.mark.parametrize("name", ["convnet", "net"])
def test_the_manifest_states_what_the_evaluation_measures(name: str, runtime: Runtime, training_digits: Digits) -> None:
    version = version_files.read(RELEASED / name)
    _, held_out = split(training_digits)
    samples = of_digits("held out", held_out).samples
    measured = digit_metrics(answer(version.predictor(runtime=runtime), samples))
    described = version.manifest if runtime == "torch" else version.manifest.compiled
    stated = described.metrics["held_out"]
    # Another processor may round a borderline case the other way.
    assert stated["images"] == measured.pictures
    assert stated["accuracy"] == pytest.approx(measured.accuracy, abs=2 / 5000)
    assert stated["answered"] == pytest.approx(measured.coverage, abs=2 / 5000)
    assert stated["negative_log_likelihood"] == pytest.approx(measured.negative_log_likelihood, rel=0.01)
    assert version.manifest.dataset["held_out_sha256"] == held_out.fingerprint()


@pytest.mark.parametrize("name", ["convnet", "net"])
def test_the_released_models_are_compiled_in_int_8(name: str) -> None:
    assert version_files.read(RELEASED / name).predictor().runtime == "onnxruntime-int8"
