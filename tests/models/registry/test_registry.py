import errno
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
from models.registry import registry
from models.registry.registry import MANIFEST, WEIGHTS, Manifest, ModelRegistry


@pytest.fixture
def saved(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "home")


def write(saved: ModelRegistry, network: str = "net", seed: int = 0) -> str:
    torch.manual_seed(seed)
    return saved.write(networks.create(network).state_dict(), Manifest(network=network))


def write_several(home: Path) -> None:
    torch.set_num_threads(1)
    for seed in range(5):
        write(ModelRegistry(home), seed=seed)


def test_a_version_comes_back_as_it_was_written(saved: ModelRegistry) -> None:
    network = networks.create("convnet")
    name = saved.write(network.state_dict(), Manifest(network="convnet", metrics={"held_out": {"accuracy": 0.99}}))
    version = saved.load(name)
    assert (name, version.name) == ("v1", "v1")
    assert version.manifest.metrics == {"held_out": {"accuracy": 0.99}}
    for key, tensor in network.state_dict().items():
        assert torch.equal(version.network.state_dict()[key], tensor)


def test_the_weights_are_a_plain_state_dict(saved: ModelRegistry) -> None:
    name = write(saved)
    state_dict = torch.load(saved.folder / name / WEIGHTS, weights_only=True)
    assert list(state_dict) == [f"fc{i}.{kind}" for i in (1, 2, 3) for kind in ("weight", "bias")]
    assert all(tensor.device.type == "cpu" for tensor in state_dict.values())


def test_numbers_count_on_and_sort_as_numbers(saved: ModelRegistry) -> None:
    (saved.folder / "v9").mkdir(parents=True)
    assert write(saved) == "v10"
    assert saved.names() == ["v9", "v10"]


def test_nothing_is_active_until_it_is_activated(saved: ModelRegistry) -> None:
    write(saved)
    with pytest.raises(UnknownVersion, match="no version is active"):
        saved.active()
    saved.activate("v1")
    assert saved.active() == "v1"
    assert (saved.folder / "active").read_text() == "v1\n"


def test_an_unknown_version_is_answered_with_the_known_ones(saved: ModelRegistry) -> None:
    write(saved)
    for call in (saved.load, saved.activate, saved.manifest):
        with pytest.raises(UnknownVersion, match="no version 'v2'; there are v1"):
            call("v2")
    with pytest.raises(UnknownVersion):
        saved.load("../models/v1")


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
        (lambda folder: (folder / WEIGHTS).unlink(), "weights.pt can not be read"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json is not a manifest"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "manifest.json is not a manifest: network"),
        (lambda folder: (folder / MANIFEST).unlink(), "manifest.json can not be read"),
        (other_network, "weights.pt does not fit network 'convnet'"),
        (unknown_network, "weights.pt does not fit network 'resnet'"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_active_version_stays(damage, reason: str, saved: ModelRegistry) -> None:
    write(saved)
    saved.activate("v1")
    write(saved)
    damage(saved.folder / "v2")
    with pytest.raises(BrokenVersion, match=reason):
        saved.load("v2")
    with pytest.raises(BrokenVersion, match=reason):
        saved.activate("v2")
    assert saved.active() == "v1"


class Dangerous:
    def __reduce__(self):
        return Path.write_text, (Path("executed"), "by the unpickler")


def test_code_in_a_weights_file_is_not_run(saved: ModelRegistry, tmp_path: Path) -> None:
    write(saved)
    path = saved.folder / "v1" / WEIGHTS
    path.write_bytes(pickle.dumps(Dangerous()))
    sha256 = registry.hashlib.sha256(path.read_bytes()).hexdigest()
    manifest = saved.manifest("v1").model_copy(update={"sha256": sha256})
    (saved.folder / "v1" / MANIFEST).write_text(manifest.model_dump_json())
    with pytest.raises(BrokenVersion):
        saved.load("v1")
    assert not Path("executed").exists()


def test_values_that_are_not_finite_are_refused(saved: ModelRegistry) -> None:
    state_dict = networks.create("net").state_dict()
    state_dict["fc1.bias"][3] = float("inf")
    saved.write(state_dict, Manifest(network="net"))
    with pytest.raises(BrokenVersion, match="not finite"):
        saved.load("v1")


def test_an_interrupted_write_leaves_nothing(saved: ModelRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    write(saved)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "_flush", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(saved)
    assert [path.name for path in saved.folder.iterdir()] == ["v1"]


def test_a_full_disk_is_named_and_what_was_there_stays(saved: ModelRegistry, tmp_path: Path) -> None:
    write(saved)
    registry.write_folder(tmp_path / "mine", networks.create("net").state_dict(), Manifest(network="net"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # less than the weights take
    try:
        with pytest.raises(HomeError, match=r"home/models can not be written: File too large"):
            write(saved, seed=1)
        with pytest.raises(HomeError, match=r"mine can not be written: File too large"):
            registry.write_folder(tmp_path / "mine", networks.create("net").state_dict(), Manifest(network="net"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in saved.folder.iterdir()] == ["v1"]
    registry.read(tmp_path / "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "mine"]


def test_several_processes_never_share_a_number(saved: ModelRegistry) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=write_several, args=(saved.folder.parent,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    assert len(saved.names()) == 15
    for name in saved.names():
        saved.load(name)
    assert sorted(path.name for path in saved.folder.iterdir()) == sorted(saved.names())


def check_seed(saved: ModelRegistry, model: str, caplog: pytest.LogCaptureFixture, *expected: str) -> None:
    """Seeds, and looks at how the lines that are logged begin."""
    caplog.clear()
    with caplog.at_level("INFO"):
        saved.seed(model)
    assert [message[: len(start)] for message, start in zip(caplog.messages, expected, strict=True)] == list(expected)


@pytest.mark.parametrize("model", ["convnet", "net"])
def test_a_new_home_is_seeded_with_the_release(
    model: str, saved: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    check_seed(saved, model, caplog, f"v1 is the released {model}")
    assert saved.active() == "v1"
    assert saved.manifest("v1").network == model
    assert saved.manifest("v1").state == "released"
    check_seed(saved, model, caplog)
    assert saved.names() == ["v1"]


def test_a_home_with_nothing_active_is_seeded_too(saved: ModelRegistry, caplog: pytest.LogCaptureFixture) -> None:
    write(saved)
    check_seed(saved, "net", caplog, "v2 is the released net")
    assert saved.active() == "v2"


def test_another_model_than_the_home_s_is_a_warning(saved: ModelRegistry, caplog: pytest.LogCaptureFixture) -> None:
    saved.seed("net")
    check_seed(
        saved, "convnet", caplog, "INKLING_INITIAL_MODEL=convnet only starts a new HOME; this one goes on with net"
    )
    assert saved.names() == ["v1"]


@pytest.fixture
def newer_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade: the released net has other weights than the one in HOME."""
    folder = tmp_path / "released"
    shutil.copytree(registry.RELEASED, folder)
    torch.manual_seed(1)
    registry.write_folder(
        folder / "net", networks.create("net").state_dict(), Manifest(network="net", state="released")
    )
    monkeypatch.setattr(registry, "RELEASED", folder)


def test_an_upgrade_replaces_an_untouched_release(
    saved: ModelRegistry, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    saved.seed("net")
    request.getfixturevalue("newer_release")
    check_seed(saved, "net", caplog, "v2 is a newer release of net, now active")
    assert saved.active() == "v2"
    check_seed(saved, "net", caplog)


def test_an_upgrade_adds_beside_what_somebody_trained(
    saved: ModelRegistry, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    saved.seed("net")
    write(saved)
    saved.activate("v2")
    request.getfixturevalue("newer_release")
    check_seed(saved, "net", caplog, "v3 is a newer release of net; v2 stays active")
    assert saved.active() == "v2"
    check_seed(saved, "net", caplog)


def test_a_home_that_can_not_be_written_names_path_and_uid(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(HomeError, match=rf"{tmp_path}/file/home/models can not be written by uid \d+: Not a directory"):
        ModelRegistry(tmp_path / "file" / "home").seed("net")


@pytest.mark.parametrize("content", [b"v9\n", b"", b"\xff\xfe", b"../v1", b"V1"])
def test_an_active_file_that_names_no_version_is_said(content: bytes, saved: ModelRegistry) -> None:
    write(saved)
    (saved.folder / "active").write_bytes(content)
    with pytest.raises(BrokenVersion, match=r"active names .* which is no version; there are v1"):
        saved.active()


def test_what_lies_around_in_home_does_not_matter(saved: ModelRegistry, caplog: pytest.LogCaptureFixture) -> None:
    saved.seed("net")
    (saved.folder / "v7").mkdir()
    (saved.folder / "v8").write_text("a file")
    (saved.folder / "notes.txt").write_text("mine")
    own = Manifest(network="sequential", state="released")  # by `inkling train --output`, of a network not released
    registry.write_folder(saved.folder / "v9", networks.create("sequential").state_dict(), own)
    check_seed(saved, "net", caplog, f"v7 is left alone: {saved.folder}/v7/manifest.json can not be read")
    assert saved.active() == "v1"


def seed(home: Path) -> None:
    ModelRegistry(home).seed("net")


def test_services_that_start_together_seed_once(saved: ModelRegistry) -> None:
    spawn = multiprocessing.get_context("spawn")
    starters = [spawn.Process(target=seed, args=(saved.folder.parent,)) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(120)
        assert starter.exitcode == 0
    assert saved.names() == ["v1"]


def test_find_prefers_home_and_falls_back_to_the_release_only_without_one(saved: ModelRegistry) -> None:
    home = saved.folder.parent
    assert registry.find(home, None, "net").manifest.state == "released"
    assert not home.exists()
    write(saved)
    saved.activate("v1")
    assert registry.find(home).name == "v1"
    assert registry.find(home, "convnet").name == "convnet"
    with pytest.raises(UnknownVersion):
        registry.find(home, "v2")
    (saved.folder / "active").write_text("v2")
    with pytest.raises(BrokenVersion):
        registry.find(home)


@pytest.mark.parametrize("name", [".", "full", "full/thesis.txt", "/"])
def test_write_folder_loses_nothing_of_anybody_s(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    monkeypatch.chdir(tmp_path / "full" if name == "." else tmp_path)
    with pytest.raises(HomeError, match="a version is written to a new folder, or over a version"):
        registry.write_folder(Path(name), networks.create("net").state_dict(), Manifest(network="net"))
    assert (tmp_path / "full" / "thesis.txt").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS])
def test_write_folder_replaces_nothing_that_has_but_the_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text('{"name": "an extension of my browser"}')
    with pytest.raises(HomeError, match=f"mine holds a {name} that is none of a version; a version is written to a"):
        registry.write_folder(folder, networks.create("net").state_dict(), Manifest(network="net"))
    assert (folder / name).read_text() == '{"name": "an extension of my browser"}'


def test_links_in_a_circle_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(HomeError, match="loop can not be read"):
        registry.check_output(tmp_path / "loop")


def test_an_activation_that_can_not_be_written_leaves_nothing(saved: ModelRegistry) -> None:
    saved.seed("net")
    before = sorted(path.name for path in saved.folder.iterdir())
    (saved.folder / "active").unlink()
    (saved.folder / "active").mkdir()
    with pytest.raises(HomeError, match="active can not be written: Is a directory"):
        saved.activate("v1")
    assert sorted(path.name for path in saved.folder.iterdir()) == before


def test_a_version_is_still_there_when_it_could_not_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "release"
    registry.write_folder(folder, networks.create("net").state_dict(), Manifest(network="net"))
    rename = Path.rename

    def fail_for_the_new_one(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.EIO, "the disk is gone")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises(HomeError, match="release can not be written: the disk is gone"):
        registry.write_folder(folder, networks.create("convnet").state_dict(), Manifest(network="convnet"))
    assert registry.read(folder).manifest.network == "net"
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_write_folder_replaces_what_was_there(tmp_path: Path) -> None:
    for network in ("net", "convnet"):
        registry.write_folder(tmp_path / "release", networks.create(network).state_dict(), Manifest(network=network))
        assert registry.read(tmp_path / "release").manifest.network == network
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


@pytest.mark.parametrize("name", ["convnet", "net"])
def test_the_released_models_are_whole_and_small(name: str) -> None:
    version = registry.read(registry.RELEASED / name)
    assert version.manifest.network == name
    assert version.manifest.metrics["held_out"]["accuracy"] > 0.99
    assert (registry.RELEASED / name / WEIGHTS).stat().st_size <= 4_000_000


def test_pruning_keeps_the_newest_the_active_one_and_its_parent(saved: ModelRegistry) -> None:
    for parent in (None, None, None, "v2", "v4", "v4"):
        saved.write(networks.create("net").state_dict(), Manifest(network="net", parent=parent))
    saved.activate("v4")
    assert saved.prune(10) == []
    assert saved.prune(1) == ["v1", "v3", "v5"]
    assert saved.names() == ["v2", "v4", "v6"]
    assert saved.active() == "v4"
    assert sorted(path.name for path in saved.folder.iterdir()) == [".lock", "active", "v2", "v4", "v6"]
    assert write(saved) == "v7"


def test_pruning_sweeps_what_a_killed_process_left_an_hour_ago(saved: ModelRegistry) -> None:
    write(saved)
    saved.activate("v1")
    for name in (".v2", ".v3", ".removed-x", ".active-x"):
        (saved.folder / name).mkdir()
    for name in (".v2", ".removed-x", ".active-x"):
        os.utime(saved.folder / name, (0, 0))
    saved.prune(10)
    assert sorted(path.name for path in saved.folder.iterdir()) == [".lock", ".v3", "active", "v1"]


def test_a_version_that_loads_but_does_not_predict_is_not_activated(saved: ModelRegistry) -> None:
    write(saved)
    saved.activate("v1")
    weights = {key: torch.full_like(tensor, 1e30) for key, tensor in networks.create("net").state_dict().items()}
    saved.write(weights, Manifest(network="net"))
    with pytest.raises(BrokenVersion, match="v2 does not predict"):
        saved.activate("v2")
    assert saved.active() == "v1"
