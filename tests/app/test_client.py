from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import CallFailed, Client
from app.settings import Settings
from tests.conftest import KEY, Server, serving


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), api_key=KEY)) as found:
        yield found


@pytest.fixture
def client(idle: Server) -> Iterator[Client]:
    with Client(Settings(url=f"{idle.url}/", api_key=KEY)) as found:
        yield found


def test_versions_and_activation(client: Client) -> None:
    assert client.versions()["active"] == "v1"
    assert client.activate("v1")["version"] == "v1"
    with pytest.raises(CallFailed, match="404: there is no version 'v9'"):
        client.activate("v9")


def test_corrections(client: Client, seven, encode) -> None:
    Path("seven.png").write_bytes(encode(seven))
    stored = client.correct(Path("seven.png"), 7)
    assert client.feedback()["total"] == 1
    client.delete(stored["id"])
    assert client.feedback()["total"] == 0
    with pytest.raises(CallFailed, match=r"missing\.png can not be read: No such file"):
        client.correct(Path("missing.png"), 7)


def test_a_job_from_its_start_to_its_end(client: Client, idle: Server) -> None:
    job = client.retrain({"epochs": 2})
    assert client.job(job["id"])["state"] == "queued"
    states = client.follow(job["id"])
    assert next(states)["state"] == "queued"
    assert client.cancel(job["id"])["state"] == "cancelled"
    assert [state["state"] for state in states] == ["cancelled"]
    with pytest.raises(CallFailed, match="404"):
        next(client.follow("nobody"))


def test_what_the_service_refuses_is_said_in_its_own_words(idle: Server) -> None:
    with Client(Settings(url=idle.url, api_key="wrong")) as client, pytest.raises(CallFailed, match="401: the key is"):
        client.retrain({})


def test_a_service_that_is_not_there() -> None:
    with Client(Settings(url="http://127.0.0.1:9")) as client:
        with pytest.raises(CallFailed, match=r"http://127.0.0.1:9 does not answer: .*INKLING_URL"):
            client.versions()
        with pytest.raises(CallFailed, match="does not answer"):
            next(client.follow("a"))


@pytest.mark.parametrize("url", ["nowhere", "ftp://host", "http://[", "http://host:port"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(CallFailed, match="INKLING_URL"), Client(Settings(url=url)) as client:
        client.versions()
