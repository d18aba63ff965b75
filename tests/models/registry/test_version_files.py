import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.errors import BrokenVersion
from models.inference import parity
from models.registry.manifest import MANIFEST
from models.registry.registry import ModelRegistry
from models.registry.version_files import COMPILED, WEIGHTS, read
from tests.support.versions import another, compiled


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "home")


def test_a_version_is_read_with_its_compiled_model(registry: ModelRegistry) -> None:
    weights, manifest, data = compiled()
    folder = registry.folder / registry.write(weights, manifest, data)
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, COMPILED, WEIGHTS]
    version = read(folder)
    assert version.compiled == data
    assert version.manifest.compiled.sha256 == hashlib.sha256(data).hexdigest()
    assert version.manifest.compiled.answers == manifest.compiled.answers


def test_a_manifest_describes_no_compiled_model_that_is_not_there(registry: ModelRegistry) -> None:
    weights, manifest, _ = compiled()
    version = registry.load(registry.write(weights, manifest))
    assert (version.compiled, version.manifest.compiled) == (None, None)


def test_both_runtimes_give_the_same_answers(registry: ModelRegistry) -> None:
    version = registry.load(another(registry))
    runtimes = {}
    for runtime in ("auto", "onnxruntime", "torch"):
        predictor = version.predictor("cpu", runtime)
        runtimes[runtime] = predictor.runtime
        assert np.abs(parity.answers(predictor) - version.manifest.answers).max() < 1e-5
    assert runtimes == {"auto": "onnxruntime-float32", "onnxruntime": "onnxruntime-float32", "torch": "torch"}


def test_without_torch_a_version_that_is_not_compiled_is_refused(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, manifest, _ = compiled()
    version = registry.load(registry.write(weights, manifest))
    assert version.predictor().runtime == "torch"
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BrokenVersion, match=r"v1 has no model\.onnx"):
        version.predictor()


def replace_compiled(folder: Path, data: bytes) -> None:
    """Writes another model.onnx, with its checksum in the manifest."""
    (folder / COMPILED).write_bytes(data)
    change_compiled(folder, sha256=hashlib.sha256(data).hexdigest())


def change_compiled(folder: Path, **members: object) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["compiled"] |= members
    (folder / MANIFEST).write_text(json.dumps(manifest))


def other_file(folder: Path) -> None:
    (folder / COMPILED).write_bytes(compiled(seed=6)[2])


def no_file(folder: Path) -> None:
    (folder / COMPILED).unlink()


def other_weights(folder: Path) -> None:
    replace_compiled(folder, compiled(seed=6)[2])


def other_answers(folder: Path) -> None:
    change_compiled(folder, answers=compiled(seed=6)[1].compiled.answers)


def later_opset(folder: Path) -> None:
    model = onnx.load_from_string((folder / COMPILED).read_bytes())
    model.opset_import[0].version = 999
    replace_compiled(folder, model.SerializeToString())


def other_output(folder: Path) -> None:
    model = onnx.load_from_string((folder / COMPILED).read_bytes())
    model.graph.output[0].name = model.graph.node[-1].output[0] = "digits"
    replace_compiled(folder, model.SerializeToString())


def large_file(folder: Path) -> None:
    replace_compiled(folder, bytes(9_000_000))


BROKEN = {
    other_file: "model.onnx does not have the sha256 that its manifest names",
    no_file: "model.onnx cannot be read",
    other_weights: "v2 gives other answers to the fixed tiles with onnxruntime-float32 on cpu",
    other_answers: "v2 gives other answers to the fixed tiles with onnxruntime-float32 on cpu",
    later_opset: "cannot load the model.onnx of v2",
    other_output: "the model.onnx of v2 maps .*digits",
    large_file: "model.onnx cannot be read",
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_version_whose_compiled_model_does_not_fit_is_refused_by_name(
    damage: Callable[[Path], None], registry: ModelRegistry
) -> None:
    for name in (another(registry), another(registry)):
        registry.activate(name)
    registry.activate("v1")
    damage(registry.folder / "v2")
    with pytest.raises(BrokenVersion, match=BROKEN[damage]):
        registry.activate("v2")
    assert registry.active() == "v1"
