from collections.abc import Iterator

import pytest

from app.settings import Settings
from tests.support.service import Server, check_problem, running

PROTECTED = [
    ("POST", "/feedback"),
    ("GET", "/feedback"),
    ("DELETE", "/feedback/abc"),
    ("POST", "/retrain"),
    ("DELETE", "/retrain/abc"),
    ("POST", "/models/v1/activate"),
]
SECRET = "clé très secrète"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(Settings(home=tmp_path_factory.mktemp("home"), api_key=SECRET)) as found:
        yield found


@pytest.mark.parametrize("method, path", PROTECTED)
def test_without_a_configured_key_the_answer_is_403_and_says_how_to_set_one(
    method: str, path: str, server: Server
) -> None:
    for headers in ({}, {"X-API-Key": "None"}, {"X-API-Key": ""}, {"Authorization": "Bearer None"}):
        answer = server.client.request(method, path, headers=headers)
        check_problem(answer, 403, "no-key-configured", "INKLING_API_KEY", "INKLING_API_KEY_FILE")


@pytest.mark.parametrize("method, path", PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "wrong"},
        {"X-API-Key": SECRET[:-1].encode()},
        {"Authorization": f"Basic {SECRET}".encode()},
        {"Authorization": "Bearer"},
    ],
)
def test_a_missing_or_wrong_key_is_401(method: str, path: str, headers: dict, locked: Server) -> None:
    answer = locked.client.request(method, path, headers=headers)
    check_problem(answer, 401, "wrong-key", "X-API-Key", "Bearer", "wrong" if headers else "missing")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": SECRET.encode()},
        {"Authorization": f"Bearer {SECRET}".encode()},
        {"authorization": f"bearer  {SECRET}".encode()},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {SECRET}".encode()},
    ],
)
def test_either_header_may_carry_the_key(headers: dict, locked: Server) -> None:
    assert locked.client.get("/feedback", headers=headers).status_code == 200


def test_neither_log_nor_answer_contains_the_key(locked: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for key in (SECRET, "wrong-one"):
        answer = locked.client.get("/feedback", headers={"X-API-Key": key.encode()})
        assert key not in answer.text
        assert key not in caplog.text
    assert SECRET not in repr(Settings(api_key=SECRET))
