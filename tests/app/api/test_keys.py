import json
import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.api import keys
from app.api.keys import MAX_BYTES, MAX_KEYS, BadKey, Keys
from app.settings import Settings
from tests.support.processes import workers
from tests.support.service import Server
from tests.support.waiting import wait_until

FIRST, SECOND, THIRD = (letter * 32 for letter in "abc")


def in_file(path: Path, content: bytes) -> list[bytes]:
    path.write_bytes(content)
    return keys.read(Settings(api_key_file=path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"one", [b"one"]),
        (b"one\n", [b"one"]),
        (b"one  \t\n", [b"one"]),
        (b"\xef\xbb\xbfone\r\ntwo\r\n", [b"one", b"two"]),
        (b"\n\n  one\n\n\ntwo words\n\n", [b"one", b"two words"]),
        (b"one\rtwo", [b"one", b"two"]),
        ("clé très secrète\n".encode(), ["clé très secrète".encode()]),
        (b"k" * MAX_BYTES + b"\n", [b"k" * MAX_BYTES]),
        (b"".join(b"key number %d\n" % number for number in range(MAX_KEYS)), None),
    ],
)
def test_a_file_has_one_key_a_line(content: bytes, expected: list[bytes] | None, tmp_path: Path) -> None:
    found = in_file(tmp_path / "keys", content)
    assert found == expected or (expected is None and len(found) == MAX_KEYS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\n", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"good enough\n" + b"k" * (MAX_BYTES + 1), "line 2 has 257 bytes"),
        (b"a key of bytes \x00", "cannot be printed"),
        (b"a key of \x1b[31m bytes", "cannot be printed"),
        (b"a key\tof bytes", "cannot be printed"),
        (b"a key of bytes \x7f", "cannot be printed"),
        (b"a key of \xff\xfe bytes", "cannot be printed"),
        ("a key for Windows\n".encode("utf-16"), "cannot be printed"),
        (b"".join(b"key number %d\n" % number for number in range(MAX_KEYS + 1)), "has 17 keys"),
        (b"\n" * 20_000, "more than 16,384 bytes"),
    ],
)
def test_a_file_that_is_not_usable_is_refused_without_showing_it(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadKey, match=reason) as error:
        in_file(tmp_path / "keys", content)
    assert "a key" not in str(error.value).replace("expected a key", "")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    if kind == "folder":
        path.mkdir()
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(BadKey, match=f"INKLING_API_KEY_FILE={path} cannot be read: "):
        Keys(Settings(api_key_file=path))


def test_the_key_comes_from_a_variable_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("from the file\n")
    assert keys.read(Settings(api_key=" given \n")) == [b"given"]
    assert keys.read(Settings(api_key_file=path)) == keys.read(Settings(api_key="", api_key_file=path))
    assert not Keys(Settings())
    assert not Keys(Settings(api_key=""))
    with pytest.raises(BadKey, match="both"):
        Keys(Settings(api_key="a", api_key_file=path))
    for wrong in ("two\nlines", "k" * (MAX_BYTES + 1), "a\x00b"):
        with pytest.raises(BadKey, match=r"^INKLING_API_KEY has "):
            Keys(Settings(api_key=wrong))


def test_each_key_of_a_file_matches_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{FIRST}\n{SECOND}\n")
    found = Keys(Settings(api_key_file=path))
    for key in (FIRST, SECOND):
        assert found.match([key.encode()])
        assert found.match([b"", key.encode()])
    for wrong in ([], [b""], [THIRD.encode()], [FIRST.encode() + b"\n"], [f"{FIRST}\n{SECOND}".encode()], [b"a" * 31]):
        assert not found.match(wrong)
    assert not Keys(Settings()).match([b""])


def test_it_shows_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(FIRST)
    found = Keys(Settings(api_key_file=path))
    assert FIRST not in repr(found)
    assert FIRST not in repr(vars(found))
    assert FIRST.encode() not in pickle.dumps(found)


def test_short_keys_are_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Keys(Settings(api_key=FIRST)).warn_of_short_ones()
    assert caplog.text == ""
    Keys(Settings(api_key="short enough")).warn_of_short_ones()
    assert "1 of 1 keys are shorter than 16 bytes" in caplog.text
    assert "short enough" not in caplog.text


def test_an_unusable_file_keeps_the_last_good_keys(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(FIRST)
    found = Keys(Settings(api_key_file=path))
    assert not found.refresh()
    for unusable in (lambda: path.write_text(""), path.unlink, path.mkdir):
        unusable()
        with pytest.raises(BadKey):
            found.refresh()
        assert not found.refresh()  # the same again
        assert found.match([FIRST.encode()])
    path.rmdir()
    path.write_text(SECOND)
    assert found.refresh()
    assert not found.match([FIRST.encode()])
    assert found.match([SECOND.encode()])


@pytest.mark.processes
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"INKLING_API_KEY_FILE": "missing"}, "cannot be read"),
        ({"INKLING_API_KEY_FILE": "."}, "a folder"),
        ({"INKLING_API_KEY": "k" * 300}, "300 bytes"),
    ],
)
def test_a_key_that_is_not_usable_is_an_error_at_start(variables: dict[str, str], reason: str, run) -> None:
    result = run("serve", **variables)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert reason in line
    assert "kkk" not in line


def statuses(server: Server, key: str) -> set[int]:
    """Over several connections, so that every worker answers."""
    return {httpx.get(f"{server.url}/feedback", headers={"X-API-Key": key}).status_code for _ in range(12)}


def logged(server: Server, words: str) -> int:
    assert server.log is not None
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return sum(words in line["event"] for line in lines)


@pytest.mark.processes
def test_keys_rotate_in_every_worker_and_outlive_an_unusable_file(tmp_path: Path, serve: Callable[..., Server]) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{FIRST}\n")
    server = serve(INKLING_API_KEY_FILE=str(path), INKLING_WORKERS="2", INKLING_INITIAL_MODEL="net")
    assert server.process is not None
    wait_until(lambda: "inkling_workers 2" in server.client.get("/metrics").text)
    before = workers(server.process.pid)
    assert statuses(server, FIRST) == {200}
    assert statuses(server, SECOND) == {401}

    path.write_text(f"\ufeff{SECOND} \r\n{FIRST}\r\n")  # in place, as a mounted file must be
    wait_until(lambda: statuses(server, SECOND) == {200})
    assert statuses(server, FIRST) == {200}

    new = tmp_path / "new"
    new.write_text(SECOND)
    new.replace(path)
    wait_until(lambda: statuses(server, FIRST) == {401})
    assert statuses(server, SECOND) == {200}
    wait_until(lambda: logged(server, "the key file has changed") == 2)
    assert workers(server.process.pid) == before

    path.write_text("")
    wait_until(lambda: logged(server, "is empty; expected a key; the last good keys stay") == 1)
    path.unlink()
    wait_until(lambda: logged(server, "cannot be read") == 1)
    os.kill(before[0], signal.SIGKILL)
    wait_until(
        lambda: 'inkling_worker_starts_total{worker="0"} 2' in metrics(server) or 'worker="1"} 2' in metrics(server)
    )
    assert statuses(server, SECOND) == {200}

    path.write_text(THIRD)
    wait_until(lambda: statuses(server, THIRD) == {200})
    wait_until(lambda: statuses(server, SECOND) == {401})
    assert logged(server, "the last good keys stay") == 2
    assert all(key not in server.log.read_text() for key in (FIRST, SECOND, THIRD))  # type: ignore[union-attr]


def metrics(server: Server) -> str:
    try:
        return httpx.get(f"{server.url}/metrics", timeout=30).text
    except httpx.TransportError:
        return ""
