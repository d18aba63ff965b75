import shutil
from collections.abc import Iterator

import pytest

from app.settings import Settings
from models.registry.manifest import Manifest
from models.registry.version_files import WEIGHTS
from tests.support.disk import file_size_limit
from tests.support.files import NOT_FILES
from tests.support.service import KEY, WITH_KEY, Server, check_problem, running
from tests.support.versions import another
from tests.support.waiting import wait_until


@pytest.fixture
def open_server(tmp_path) -> Iterator[Server]:
    with running(Settings(home=tmp_path / "home", api_key=KEY)) as found:
        found.client.headers.update(WITH_KEY)
        yield found


def test_versions_are_listed_newest_first_with_the_active_one(open_server: Server) -> None:
    saved = open_server.app.state.registry
    another(saved)
    body = open_server.client.get("/models", headers={"X-API-Key": "not needed"}).json()
    assert list(body) == ["active", "versions"]
    assert (body["active"], [version["version"] for version in body["versions"]]) == ("v1", ["v2", "v1"])
    one = open_server.client.get("/models/v1").json()
    assert one == body["versions"][1]
    assert list(one) == ["version", "network", "created_at", "parent", "state", "metrics"]
    assert (one["network"], one["state"]) == ("convnet", "released")
    assert one["metrics"]["held_out"]["accuracy"] > 0.99


def test_versions_are_activated_and_rolled_back(open_server: Server, seven, encode) -> None:
    saved = open_server.app.state.registry
    another(saved)
    for name in ("v2", "v1"):
        answer = open_server.client.post(f"/models/{name}/activate")
        assert (answer.status_code, answer.json()["version"]) == (200, name)
        assert open_server.client.get("/models").json()["active"] == name
        wait_until(lambda name=name: open_server.predict(encode(seven))["model"] == name)


def test_a_rejected_version_can_be_activated_by_hand(open_server: Server) -> None:
    saved = open_server.app.state.registry
    weights = saved.load("v1").network().state_dict()
    saved.write(weights, Manifest(network="convnet", state="rejected", parent="v1"))
    answer = open_server.client.post("/models/v2/activate")
    assert (answer.status_code, answer.json()["state"], answer.json()["parent"]) == (200, "rejected", "v1")


@pytest.mark.parametrize("name", ["v9", "V1", "v1.", ".v1", "active", "..", "%2e%2e", "v1%2f..%2fv1"])
def test_an_unknown_version_is_404(name: str, open_server: Server) -> None:
    check_problem(open_server.client.post(f"/models/{name}/activate"), 404, "not-found")
    if name not in ("..", "%2e%2e"):  # a client resolves these before it asks
        check_problem(open_server.client.get(f"/models/{name}"), 404, "not-found")


def test_a_version_that_does_not_load_is_409_and_the_active_one_stays(open_server: Server, seven, encode) -> None:
    saved = open_server.app.state.registry
    shutil.copytree(saved.folder / "v1", saved.folder / "v2")
    (saved.folder / "v2" / WEIGHTS).write_bytes(b"broken")
    check_problem(open_server.client.post("/models/v2/activate"), 409, "broken-version", "sha256")
    assert saved.active() == "v1"
    assert open_server.predict(encode(seven))["model"] == "v1"
    shutil.copytree(saved.folder / "v1", saved.folder / "v3")
    (saved.folder / "v3" / "manifest.json").write_text("{}")
    names = [version["version"] for version in open_server.client.get("/models").json()["versions"]]
    assert names == ["v2", "v1"]


def test_a_version_without_a_regular_file_is_409_and_the_next_activation_is_not_held_up(open_server: Server) -> None:
    saved = open_server.app.state.registry
    for kind, make in NOT_FILES.items():
        name = another(saved)
        weights = saved.folder / name / WEIGHTS
        weights.unlink()
        make(weights)
        answer = open_server.client.post(f"/models/{name}/activate")
        assert "weights.pt" in check_problem(answer, 409, "broken-version")["detail"], kind
        assert open_server.client.post("/models/v1/activate").status_code == 200, kind


def test_versions_that_are_gone_are_503_and_nothing_takes_their_place(open_server: Server) -> None:
    folder = open_server.app.state.registry.folder
    calls = [("GET", "/models"), ("GET", "/models/v1"), ("POST", "/models/v1/activate")]
    folder.rename(folder.with_name("elsewhere"))
    for method, path in calls:
        answer = open_server.client.request(method, path)
        check_problem(answer, 503, "store-unavailable")
        assert answer.headers["retry-after"]
    assert not folder.exists()
    folder.with_name("elsewhere").rename(folder)
    for method, path in calls:
        assert open_server.client.request(method, path).status_code == 200


def test_an_activation_on_a_full_disk_is_507_and_the_active_version_stays(open_server: Server) -> None:
    registry = open_server.app.state.registry
    another(registry)
    with file_size_limit(1):
        answer = open_server.client.post("/models/v2/activate")
    check_problem(answer, 507, "storage-full")
    assert registry.active() == "v1"
    assert open_server.client.post("/models/v2/activate").status_code == 200
