import errno
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.errors import BrokenVersion, HomeError
from models.inference import networks, parity
from models.registry import version_files
from models.registry.manifest import MANIFEST, Manifest
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


@pytest.mark.parametrize("name", [".", "full", "full/thesis.txt", "/"])
def test_write_refuses_a_folder_with_other_files(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    monkeypatch.chdir(tmp_path / "full" if name == "." else tmp_path)
    with pytest.raises(HomeError, match="name a new folder, or the folder of a version to replace"):
        version_files.write(Path(name), networks.create("net").state_dict(), Manifest(network="net"))
    assert (tmp_path / "full" / "thesis.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_write_refuses_files_that_only_have_the_names_of_a_version(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text('{"name": "an extension of my browser"}')
    with pytest.raises(HomeError, match=f"mine holds a {name} that belongs to no version"):
        version_files.write(folder, networks.create("net").state_dict(), Manifest(network="net"))
    assert (folder / name).read_text() == '{"name": "an extension of my browser"}'


def test_links_that_form_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(HomeError, match="loop cannot be read"):
        version_files.check_output(tmp_path / "loop")


def test_a_version_survives_a_failed_replacement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "release"
    version_files.write(folder, networks.create("net").state_dict(), Manifest(network="net"))
    rename = Path.rename

    def fail_for_the_new_one(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.EIO, "the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(HomeError, match="release cannot be written: the disk is gone"):
        version_files.write(folder, networks.create("convnet").state_dict(), Manifest(network="convnet"))
    assert read(folder).manifest.network == "net"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_write_replaces_a_version(tmp_path: Path) -> None:
    for network in ("net", "convnet"):
        version_files.write(tmp_path / "release", networks.create(network).state_dict(), Manifest(network=network))
        assert read(tmp_path / "release").manifest.network == network
    assert [path.name for path in tmp_path.iterdir()] == ["release"]
