import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import shutil
from pathlib import Path

import pytest
import torch

from models.errors import BrokenVersion, HomeError, UnknownVersion
from models.inference import networks
from models.registry import registry as registry_module
from models.registry import version_files
from models.registry.manifest import MANIFEST, Manifest
from models.registry.registry import ModelRegistry
from models.registry.version_files import WEIGHTS
from tests.support.files import NOT_FILES


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "home", "torch")


def write(registry: ModelRegistry, network: str = "net", seed: int = 0) -> str:
    torch.manual_seed(seed)
    return registry.write(networks.create(network).state_dict(), Manifest(network=network))


def write_several(home: Path) -> None:
    torch.set_num_threads(1)
    for seed in range(5):
        write(ModelRegistry(home), seed=seed)


def test_a_version_is_read_as_it_was_written(registry: ModelRegistry) -> None:
    network = networks.create("convnet")
    name = registry.write(network.state_dict(), Manifest(network="convnet", metrics={"held_out": {"accuracy": 0.99}}))
    version = registry.load(name)
    assert (name, version.name) == ("v1", "v1")
    assert version.manifest.metrics == {"held_out": {"accuracy": 0.99}}
    for key, tensor in network.state_dict().items():
        assert torch.equal(version.network().state_dict()[key], tensor)


def test_the_weights_are_a_plain_state_dict(registry: ModelRegistry) -> None:
    name = write(registry)
    state_dict = torch.load(registry.folder / name / WEIGHTS, weights_only=True)
    assert list(state_dict) == [f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")]
    assert all(tensor.device.type == "cpu" for tensor in state_dict.values())


def test_version_numbers_increase_and_sort_as_numbers(registry: ModelRegistry) -> None:
    (registry.folder / "v9").mkdir(parents=True)
    assert write(registry) == "v10"
    assert registry.names() == ["v9", "v10"]


def test_nothing_is_active_until_it_is_activated(registry: ModelRegistry) -> None:
    write(registry)
    with pytest.raises(UnknownVersion, match="no version is active"):
        registry.active()
    registry.activate("v1")
    assert registry.active() == "v1"
    assert (registry.folder / "active").read_text() == "v1\n"


def test_an_unknown_version_is_an_error_that_lists_the_known_ones(registry: ModelRegistry) -> None:
    write(registry)
    for call in (registry.load, registry.activate, registry.manifest):
        with pytest.raises(UnknownVersion, match="no version 'v2'; there are v1"):
            call("v2")
    with pytest.raises(UnknownVersion):
        registry.load("../models/v1")


def damage_weights(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def other_network(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "network": "convnet"}))


def unknown_network(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "network": "resnet"}))


@pytest.mark.parametrize(
    "damage, reason",
    [
        (damage_weights, "weights.pt does not have the sha256"),
        (lambda folder: (folder / WEIGHTS).unlink(), "weights.pt cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json is not a manifest"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "manifest.json is not a manifest: network"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json cannot be read"),
        (other_network, "weights of v2 do not fit network 'convnet'"),
        (unknown_network, "weights of v2 do not fit network 'resnet'"),
    ],
)
def test_a_broken_version_is_refused_and_the_active_version_stays(damage, reason: str, registry: ModelRegistry) -> None:
    write(registry)
    registry.activate("v1")
    write(registry)
    damage(registry.folder / "v2")
    with pytest.raises(BrokenVersion, match=reason):
        registry.load("v2").network()
    with pytest.raises(BrokenVersion, match=reason):
        registry.activate("v2")
    assert registry.active() == "v1"


@pytest.mark.parametrize("kind", NOT_FILES)
@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST])
def test_a_version_with_something_else_in_the_place_of_a_file_is_refused_and_holds_no_lock(
    name: str, kind: str, registry: ModelRegistry
) -> None:
    write(registry)
    write(registry)
    path = registry.folder / "v1" / name
    path.unlink()
    NOT_FILES[kind](path)
    with pytest.raises(BrokenVersion, match=f"v1/{name} cannot be read: "):
        registry.activate("v1")
    registry.activate("v2")
    assert registry.active() == "v2"


class Dangerous:
    def __reduce__(self):
        return Path.write_text, (Path("executed"), "by the unpickler")


def test_code_in_a_weights_file_is_not_run(registry: ModelRegistry, tmp_path: Path) -> None:
    write(registry)
    path = registry.folder / "v1" / WEIGHTS
    path.write_bytes(pickle.dumps(Dangerous()))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = registry.manifest("v1").model_copy(update={"sha256": sha256})
    (registry.folder / "v1" / MANIFEST).write_text(manifest.model_dump_json())
    with pytest.raises(BrokenVersion):
        registry.load("v1").network()
    assert not Path("executed").exists()


def test_values_that_are_not_finite_are_refused(registry: ModelRegistry) -> None:
    state_dict = networks.create("net").state_dict()
    state_dict["fc1.bias"][3] = float("inf")
    registry.write(state_dict, Manifest(network="net"))
    with pytest.raises(BrokenVersion, match="not finite"):
        registry.load("v1").network()


def test_an_interrupted_write_leaves_nothing(registry: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    write(registry)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("models.fs.sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(registry)
    assert [path.name for path in registry.folder.iterdir()] == ["v1"]


def test_a_full_disk_is_an_error_and_leaves_existing_versions(registry: ModelRegistry, tmp_path: Path) -> None:
    write(registry)
    version_files.write(tmp_path / "mine", networks.create("net").state_dict(), Manifest(network="net"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # less than the weights take
    try:
        with pytest.raises(HomeError, match=r"home/models cannot be written: File too large"):
            write(registry, seed=1)
        with pytest.raises(HomeError, match=r"mine cannot be written: File too large"):
            version_files.write(tmp_path / "mine", networks.create("net").state_dict(), Manifest(network="net"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in registry.folder.iterdir()] == ["v1"]
    version_files.read(tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "mine"]


@pytest.mark.processes
def test_processes_that_write_at_once_get_different_numbers(registry: ModelRegistry) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_several, args=(registry.folder.parent,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    assert len(registry.names()) == 15
    for name in registry.names():
        registry.load(name)
    assert sorted(path.name for path in registry.folder.iterdir()) == sorted(registry.names())


def check_seed(registry: ModelRegistry, model: str, caplog: pytest.LogCaptureFixture, *expected: str) -> None:
    """Seeds, and compares the beginnings of the lines that are logged."""
    caplog.clear()
    with caplog.at_level("INFO"):
        registry.seed(model)
    assert [message[: len(start)] for message, start in zip(caplog.messages, expected, strict=True)] == list(expected)


@pytest.mark.parametrize("model", ["convnet", "net"])
def test_a_new_home_is_seeded_with_the_released_model(
    model: str, registry: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    check_seed(registry, model, caplog, f"v1 is the released {model}")
    assert registry.active() == "v1"
    assert registry.manifest("v1").network == model
    assert registry.manifest("v1").state == "released"
    check_seed(registry, model, caplog)
    assert registry.names() == ["v1"]


def test_a_home_without_an_active_version_is_seeded(registry: ModelRegistry, caplog: pytest.LogCaptureFixture) -> None:
    write(registry)
    check_seed(registry, "net", caplog, "v2 is the released net")
    assert registry.active() == "v2"


def test_an_initial_model_other_than_the_active_one_is_a_warning(
    registry: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.seed("net")
    check_seed(
        registry, "convnet", caplog, "INKLING_INITIAL_MODEL=convnet only starts a new HOME; this one goes on with net"
    )
    assert registry.names() == ["v1"]


@pytest.fixture
def newer_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade: the released net has other weights than the version in HOME."""
    folder = tmp_path / "released"
    shutil.copytree(registry_module.RELEASED, folder)
    torch.manual_seed(1)
    version_files.write(folder / "net", networks.create("net").state_dict(), Manifest(network="net", state="released"))
    monkeypatch.setattr(registry_module, "RELEASED", folder)


def test_an_upgrade_activates_the_newer_release_of_an_unchanged_model(
    registry: ModelRegistry, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    registry.seed("net")
    request.getfixturevalue("newer_release")
    check_seed(registry, "net", caplog, "v2 is a newer release of net, now active")
    assert registry.active() == "v2"
    check_seed(registry, "net", caplog)


def test_an_upgrade_leaves_a_trained_version_active(
    registry: ModelRegistry, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    registry.seed("net")
    write(registry)
    registry.activate("v2")
    request.getfixturevalue("newer_release")
    check_seed(registry, "net", caplog, "v3 is a newer release of net; v2 stays active")
    assert registry.active() == "v2"
    check_seed(registry, "net", caplog)


def test_a_home_that_cannot_be_written_is_named_with_the_uid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HomeError, match=rf"{tmp_path}/file/home/models cannot be written by uid \d+: Not a directory"):
        ModelRegistry(tmp_path / "file" / "home").seed("net")


@pytest.mark.parametrize("content", [b"v9\n", b"", b"\xff\xfe", b"../v1", b"V1"])
def test_an_active_file_that_names_no_version_is_an_error(content: bytes, registry: ModelRegistry) -> None:
    write(registry)
    (registry.folder / "active").write_bytes(content)
    with pytest.raises(BrokenVersion, match=r"active names .* which is not a version; there are v1"):
        registry.active()


def test_files_that_are_not_versions_do_not_disturb_seeding(
    registry: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.seed("net")
    (registry.folder / "v7").mkdir()
    (registry.folder / "v8").write_text("a file")
    (registry.folder / "notes.txt").write_text("mine")
    own = Manifest(network="sequential", state="released")  # by `inkling train --output`, of a network not released
    version_files.write(registry.folder / "v9", networks.create("sequential").state_dict(), own)
    check_seed(registry, "net", caplog, f"v7 is left alone: {registry.folder}/v7/manifest.json cannot be read")
    assert registry.active() == "v1"


def seed(home: Path) -> None:
    ModelRegistry(home).seed("net")


@pytest.mark.processes
def test_services_that_start_at_once_seed_once(registry: ModelRegistry) -> None:
    spawn = multiprocessing.get_context("spawn")
    starters = [spawn.Process(target=seed, args=(registry.folder.parent,)) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(120)
        assert starter.exitcode == 0
    assert registry.names() == ["v1"]


def test_find_falls_back_to_the_released_model_only_without_an_active_version(registry: ModelRegistry) -> None:
    home = registry.folder.parent
    assert registry_module.find(home, None, "net").manifest.state == "released"
    assert not home.exists()
    write(registry)
    registry.activate("v1")
    assert registry_module.find(home).name == "v1"
    assert registry_module.find(home, "convnet").name == "convnet"
    with pytest.raises(UnknownVersion):
        registry_module.find(home, "v2")
    (registry.folder / "active").write_text("v2")
    with pytest.raises(BrokenVersion):
        registry_module.find(home)


def test_an_activation_that_cannot_be_written_leaves_no_files(registry: ModelRegistry) -> None:
    registry.seed("net")
    before = sorted(path.name for path in registry.folder.iterdir())
    (registry.folder / "active").unlink()
    (registry.folder / "active").mkdir()
    with pytest.raises(HomeError, match="active cannot be written: Is a directory"):
        registry.activate("v1")
    assert sorted(path.name for path in registry.folder.iterdir()) == before


@pytest.mark.parametrize("name", ["convnet", "net"])
def test_the_released_models_load_and_are_small(name: str) -> None:
    version = version_files.read(registry_module.RELEASED / name)
    assert version.manifest.network == name
    assert version.manifest.metrics["held_out"]["accuracy"] > 0.99
    assert (registry_module.RELEASED / name / WEIGHTS).stat().st_size <= 4_000_000


def test_pruning_keeps_the_newest_the_active_one_and_its_parent(registry: ModelRegistry) -> None:
    for parent in (None, None, None, "v2", "v4", "v4"):
        registry.write(networks.create("net").state_dict(), Manifest(network="net", parent=parent))
    registry.activate("v4")
    assert registry.prune(10) == []
    assert registry.prune(1) == ["v1", "v3", "v5"]
    assert registry.names() == ["v2", "v4", "v6"]
    assert registry.active() == "v4"
    assert sorted(path.name for path in registry.folder.iterdir()) == [".lock", "active", "v2", "v4", "v6"]
    assert write(registry) == "v7"


def test_pruning_removes_temporary_files_older_than_an_hour(registry: ModelRegistry) -> None:
    write(registry)
    registry.activate("v1")
    for name in (".v2", ".v3", ".removed-x", ".active-x"):
        (registry.folder / name).mkdir()
    for name in (".v2", ".removed-x", ".active-x"):
        os.utime(registry.folder / name, (0, 0))
    registry.prune(10)
    assert sorted(path.name for path in registry.folder.iterdir()) == [".lock", ".v3", "active", "v1"]


def test_a_version_that_loads_but_does_not_predict_is_not_activated(registry: ModelRegistry) -> None:
    write(registry)
    registry.activate("v1")
    weights = {key: torch.full_like(tensor, 1e30) for key, tensor in networks.create("net").state_dict().items()}
    registry.write(weights, Manifest(network="net"))
    with pytest.raises(BrokenVersion, match="v2 does not predict"):
        registry.activate("v2")
    assert registry.active() == "v1"
