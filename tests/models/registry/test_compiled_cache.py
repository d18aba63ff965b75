import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import BrokenVersion
from models.inference import networks, parity
from models.registry.compiled_cache import CompiledCache
from models.registry.manifest import MANIFEST, Manifest
from models.registry.registry import ModelRegistry
from models.registry.version_files import COMPILED

# Each compiles in a process, which imports torch.
pytestmark = pytest.mark.processes


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    """A HOME with a version of an earlier release."""
    found = ModelRegistry(tmp_path / "home")
    torch.manual_seed(0)
    found.write(networks.create("net").state_dict(), Manifest(network="net"))
    return found


def entry(registry: ModelRegistry) -> Path:
    return registry.folder.parent / "compiled" / registry.manifest("v1").sha256


def test_a_version_without_a_compiled_model_is_compiled_once_when_it_is_activated(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.activate("v1")
    assert registry.load("v1").compiled == (entry(registry) / COMPILED).read_bytes()
    made = (entry(registry) / COMPILED).stat().st_mtime_ns
    monkeypatch.setitem(sys.modules, "torch", None)  # everybody else does without
    again = ModelRegistry(registry.folder.parent)
    again.activate("v1")
    predictor = again.predictor("v1")
    assert predictor.runtime == "onnxruntime-float32"
    assert (entry(registry) / COMPILED).stat().st_mtime_ns == made
    assert not (registry.folder / "v1" / COMPILED).exists()
    monkeypatch.undo()
    weights = ModelRegistry(registry.folder.parent, "torch").predictor("v1")
    assert np.abs(parity.answers(weights) - parity.answers(predictor)).max() < parity.TOLERANCE


def test_a_damaged_entry_is_compiled_again(registry: ModelRegistry) -> None:
    registry.activate("v1")
    (entry(registry) / COMPILED).write_bytes(b"damaged")
    assert registry.load("v1").compiled is None
    registry.activate("v1")
    assert registry.load("v1").compiled is not None
    assert sorted(path.name for path in entry(registry).parent.iterdir()) == [".lock", entry(registry).name]


def test_a_copy_of_a_released_model_from_before_releases_were_compiled_has_that_of_the_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ModelRegistry(tmp_path / "home")
    registry.seed("net")
    folder = registry.folder / "v1"
    (folder / COMPILED).unlink()
    manifest = registry.manifest("v1").model_copy(update={"compiled": None, "answers": None})
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    monkeypatch.setitem(sys.modules, "torch", None)
    registry.activate("v1")
    assert registry.predictor("v1").runtime == "onnxruntime-int8"
    assert not (tmp_path / "home" / "compiled").exists()


def test_where_torch_is_missing_the_version_is_refused_by_name(
    registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BrokenVersion, match=r"v1 has no model.onnx, and making one needs torch .not installed"):
        registry.activate("v1")


@pytest.mark.parametrize("runtime", ["auto", "onnxruntime"])
def test_a_version_that_cannot_be_compiled_is_run_by_torch_unless_that_is_excluded(
    runtime: str, registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = ModelRegistry(registry.folder.parent, runtime)
    if runtime == "auto":
        assert found.predictor("v1").runtime == "torch"
        assert "v1 has no model.onnx, and making one needs onnx" in caplog.text
    else:
        with pytest.raises(BrokenVersion, match=r"v1 has no model\.onnx"):
            found.predictor("v1")


def test_weights_that_do_not_load_are_the_reason(registry: ModelRegistry) -> None:
    registry.write(networks.create("net").state_dict(), Manifest(network="convnet"))
    with pytest.raises(BrokenVersion, match=r"v2 could not be compiled for CPUs: .*do not fit network 'convnet'"):
        ModelRegistry(registry.folder.parent, "onnxruntime").activate("v2")
    assert [path.name for path in entry(registry).parent.iterdir()] == [".lock"]


def test_pruning_removes_the_entries_of_versions_that_are_gone(registry: ModelRegistry) -> None:
    registry.activate("v1")
    cache = CompiledCache(registry.folder.parent / "compiled")
    (cache.folder / "0123").mkdir()
    (cache.folder / ".building-x").mkdir()
    registry.prune(1)
    assert sorted(path.name for path in cache.folder.iterdir()) == [".lock", entry(registry).name]


def test_every_user_of_the_home_can_read_an_entry(registry: ModelRegistry) -> None:
    registry.activate("v1")
    assert stat.S_IMODE(entry(registry).stat().st_mode) & 0o555 == 0o555 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
