"""Which HTTP version and which Host a request may name, on the fast path and on the route."""

from collections.abc import Iterator

import pytest
from PIL import Image

from app.settings import Settings
from tests.support.connection import answers, connect
from tests.support.service import Server, check_problem, serving

TARGETS = [b"GET /health/live", b"POST /predict"]


@pytest.fixture(scope="module")
def tile(seven: Image.Image, encode) -> bytes:
    return encode(seven.resize((28, 28)))


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), allowed_hosts="example.org, *.Example.com,[::1]")
    with serving(settings) as found:
        yield found


def message(target: bytes, version: bytes, hosts: list[bytes], body: bytes) -> bytes:
    lines = [target + b" HTTP/" + version, *(b"Host: " + host for host in hosts)]
    if target.startswith(b"GET"):
        return b"\r\n".join([*lines, b"", b""])
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def ask(server: Server, written: bytes) -> tuple[int, str]:
    """The status, and the problem if there is one."""
    with connect(server) as connection:
        connection.sendall(written)
        [(status, body)] = answers(connection, 1)
        return status, body.get("type", "")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "version, hosts",
    [
        (b"1.1", []),
        (b"1.1", [b"x", b"x"]),
        (b"1.1", [b"x", b"y"]),
        (b"1.0", [b"x", b"y"]),
        (b"1.1", [b"a b"]),
        (b"1.1", [b"a/b"]),
        (b"1.1", [b"user@a"]),
        (b"1.1", [b"a:b"]),
        (b"1.1", [b"[::1"]),
        (b"1.1", [b"\xe4"]),
        (b"2.0", [b"x"]),
        (b"0.9", []),
    ],
)
def test_no_host_two_hosts_nonsense_and_other_versions_are_400(
    target: bytes, version: bytes, hosts: list[bytes], server: Server, tile: bytes
) -> None:
    assert ask(server, message(target, version, hosts, tile)) == (400, "/problems/bad-request")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("host", [b"", b"x", b"a-b.example:80", b"127.0.0.1:8000", b"[::1]:80", b"a_b"])
def test_any_host_is_answered_by_default(target: bytes, host: bytes, server: Server, tile: bytes) -> None:
    assert ask(server, message(target, b"1.1", [host], tile))[0] == 200
    assert ask(server, message(target, b"1.0", [host], tile))[0] == 200
    assert ask(server, message(target, b"1.0", [], tile))[0] == 200


def test_a_long_host_is_answered_and_not_remembered(server: Server, tile: bytes) -> None:
    assert server.app is not None
    remembered = server.app.hosts._accepts.cache_info().currsize
    for target in TARGETS:
        assert ask(server, message(target, b"1.1", [b"a" * 60_000], tile))[0] == 200
    assert server.app.hosts._accepts.cache_info().currsize == remembered


def test_only_the_allowed_hosts_are_answered(chosen: Server, tile: bytes) -> None:
    for host in ("example.org", "EXAMPLE.org:8000", "a.example.com", "a.b.example.com.", "[::1]:80"):
        assert chosen.client.post("/predict", content=tile, headers={"Host": host}).json()["digit"] == 7, host
        assert chosen.client.get("/models", headers={"Host": host}).status_code == 200
    for host in ("example.com", "badexample.com", "example.org.evil", "127.0.0.1", "", "[::2]"):
        for answer in (
            chosen.client.post("/predict", content=tile, headers={"Host": host}),
            chosen.client.get("/models", headers={"Host": host}),
            chosen.client.get("/healthy", headers={"Host": host}),
        ):
            check_problem(answer, 400, "unknown-host", "INKLING_ALLOWED_HOSTS")
    assert ask(chosen, message(b"GET /models", b"1.0", [], b"")) == (400, "/problems/unknown-host")


def test_probes_and_metrics_are_answered_to_any_host(chosen: Server) -> None:
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        assert chosen.client.get(path, headers={"Host": "10.0.0.7:8000"}).status_code == 200
