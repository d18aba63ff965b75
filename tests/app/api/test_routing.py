"""HEAD, trailing slashes, methods and the headers of every answer, over every path of the OpenAPI document."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.api.routing import RootPathTaken
from app.main import create_app
from app.settings import Settings
from tests.support.connection import connect
from tests.support.service import KEY, WITH_KEY, Server, check_problem, serving
from tests.support.waiting import wait_until

PATHS = {
    path: {method.upper() for method in calls} for path, calls in create_app(Settings()).openapi()["paths"].items()
}
MORE_PAGES = ["/", "/docs", "/page/main.js", "/page/icon.svg", "/docs/swagger-ui.css", "/page/key", "/openapi.json"]
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}


@pytest.fixture(scope="module", params=["", "/digits"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), api_key=KEY, root_path=request.param)
    with serving(settings) as found:
        found.client.headers.update(WITH_KEY)
        yield found


def with_job(server: Server, path: str) -> str:
    assert server.app is not None
    jobs = server.app.state.jobs
    listed = jobs.list_newest()
    job = listed[0] if listed else jobs.submit({}, None)
    return path.replace("{version}", "v1").replace("{id}", job.id)


def root_path(server: Server) -> str:
    assert server.app is not None
    return server.app.state.inference.settings.root_path


def steady(answer: httpx.Response) -> dict[str, str]:
    """The headers, without those that differ from one request to the next or say how the body is framed."""
    return {
        name: value
        for name, value in answer.headers.items()
        if name not in ("date", "x-request-id", "transfer-encoding", "content-length")
    }


@pytest.mark.parametrize("path", [*(path for path in PATHS if "GET" in PATHS[path]), *MORE_PAGES, "/metrics"])
def test_head_answers_as_get_does_without_a_body(path: str, served: Server) -> None:
    path = with_job(served, path)
    head = served.client.head(path)
    with served.client.stream("GET", path) as get:  # a stream of events has no end here
        assert (head.status_code, steady(head), head.content) == (get.status_code, steady(get), b"")
        length = get.headers.get("content-length")
    if path not in ("/health", "/health/ready", "/metrics"):  # their figures may have grown a digit meanwhile
        assert head.headers.get("content-length") == length
    assert head.headers["x-request-id"]


def test_head_of_an_event_stream_ends_and_gives_its_place_back(served: Server) -> None:
    path = with_job(served, "/retrain/{id}/events")
    for _ in range(3):
        answer = served.client.head(path)
        assert answer.headers["content-type"].startswith("text/event-stream")
    assert served.app is not None
    job_events = served.app.state.job_events
    wait_until(lambda: not job_events._streams)


def test_nothing_but_headers_follows_head_on_the_wire(served: Server) -> None:
    with connect(served) as connection:
        connection.sendall(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\nGET /health/live HTTP/1.1\r\nHost: x\r\n")
        connection.sendall(b"Connection: close\r\n\r\n")
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.match(rb"HTTP/1.1 200 OK\r\n(?:[^\r]+\r\n)+\r\nHTTP/1.1 200 OK\r\n", data)
    assert data.endswith(b'{"status":"live"}')


def test_head_is_logged_as_head_and_with_its_route(server: Server) -> None:
    server.client.head("/models/v1")
    line = 'inkling_requests_total{method="HEAD",route="/models/{version}",status="200"}'
    wait_until(lambda: line in server.client.get("/metrics").text)


@pytest.mark.parametrize("path", [*PATHS, "/", "/metrics", "/docs", "/openapi.json", "/page/key"])
def test_a_method_that_a_path_lacks_is_405_and_allow_names_those_that_it_has(path: str, served: Server) -> None:
    allowed = PATHS.get(path, {"GET"})
    allowed = allowed | ({"HEAD"} if "GET" in allowed else set())
    for method in METHODS - allowed:
        answer = served.client.request(method, with_job(served, path))
        assert (answer.status_code, answer.headers["allow"]) == (405, ", ".join(sorted(allowed)))
        assert answer.headers["x-request-id"]
        if method != "HEAD":
            check_problem(answer, 405, "method-not-allowed")


@pytest.mark.parametrize("path", [*PATHS, "/docs", "/metrics", "/openapi.json", "/page/main.js"])
def test_a_trailing_slash_is_redirected_with_method_and_query(path: str, served: Server) -> None:
    path = with_job(served, path)
    for method, slashes in (("GET", "/"), ("POST", "/"), ("DELETE", "//")):
        answer = served.client.request(method, f"{path}{slashes}?a=%2F&b=c%20d", content=b"x")
        assert (answer.status_code, answer.content) == (307, b"")
        assert answer.headers["location"] == f"{root_path(served)}{path}?a=%2F&b=c%20d"
        assert answer.headers["x-request-id"]


def test_a_client_that_follows_sends_its_body_again(server: Server, seven, encode) -> None:
    answer = server.client.post("/predict/", files={"file": encode(seven)}, follow_redirects=True)
    assert (answer.status_code, answer.json()["digit"]) == (200, 7)
    assert [earlier.status_code for earlier in answer.history] == [307]


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/missing/",
            "/predict/x/",
            "/page/",
            "/retrain/a/b/",
            "/models//",
            "//",
            "//evil.example/",
            "/\\evil.example/",
        ),
        *("//evil.example/predict/", "/%2Fevil.example/predict/", "/models/%2F%2Fevil.example/", "/%0d%0aa:b/"),
        *("//evil.example", "/.//evil.example/", "//evil.example/%2e%2e/"),
    ],
)
def test_a_redirect_leads_only_to_a_path_that_exists_here(path: str, served: Server) -> None:
    with connect(served) as connection:  # a client would put the path in order before it asks
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        head = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")[0].decode()
    location = re.search(r"(?m)^location: (.*)$", head)
    if location is None:
        assert head.startswith("HTTP/1.1 404 ")
    else:
        assert location[1].strip() in (f"{root_path(served)}/models", f"{root_path(served)}/")


def test_a_query_of_any_bytes_is_redirected(served: Server) -> None:
    with connect(served) as connection:
        connection.sendall(b"GET /models/?a=\xff\xc3\xa9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    assert data.startswith((b"HTTP/1.1 307 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in PATHS if "GET" in PATHS[path] and not path.endswith("/events")),
        *(("POST", "/predict"), ("POST", "/predict/batch"), ("POST", "/feedback"), ("POST", "/models/v1/activate")),
        *(("DELETE", "/feedback/missing"), ("DELETE", "/retrain/missing"), ("GET", "/missing"), ("PUT", "/predict")),
        *(("GET", "/metrics"), ("GET", "/page/key"), ("GET", "/models/"), ("POST", "/page/tile")),
    ],
)
def test_an_answer_of_the_interface_is_neither_stored_nor_guessed_at(method: str, path: str, served: Server) -> None:
    answer = served.client.request(method, with_job(served, path))
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


def test_the_fast_path_says_so_too(server: Server, seven, encode) -> None:
    for picture in (encode(seven.resize((28, 28))), b"no picture"):
        answer = server.client.post("/predict", content=picture)
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]


@pytest.fixture(scope="module")
def below_digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), root_path="/digits")) as found:
        yield found


@pytest.mark.parametrize("path", [*(path for path in PATHS if "GET" in PATHS[path]), *MORE_PAGES, "/metrics"])
def test_a_proxy_may_leave_the_root_path_in_a_path(path: str, below_digits: Server) -> None:
    path = with_job(below_digits, path)
    stripped, whole, twice = (below_digits.client.head(prefix + path) for prefix in ("", "/digits", "/digits/digits"))
    assert whole.status_code == stripped.status_code
    assert whole.headers["content-type"] == stripped.headers["content-type"]
    assert twice.status_code == 404


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/digits", "/digits/"),
        ("/digits?a=b", "/digits/?a=b"),
        ("/digits/models/", "/digits/models"),
        ("/models/", "/digits/models"),
        ("/digitsmodels/", None),
        ("/digits//evil.example/", None),
        ("/digits/digits/", None),
    ],
)
def test_redirects_lead_below_the_root_path(path: str, location: str | None, below_digits: Server) -> None:
    answer = below_digits.client.get(path)
    assert (answer.status_code, answer.headers.get("location")) == (307 if location else 404, location)


@pytest.mark.parametrize("root_path", ["/predict", "/models", "/retrain", "/page", "/docs", "/health/live", "/metrics"])
def test_a_path_of_inkling_is_no_root_path(root_path: str) -> None:
    with pytest.raises(RootPathTaken, match=f"INKLING_ROOT_PATH={root_path} "):
        create_app(Settings(root_path=root_path))


def test_a_root_path_may_begin_as_a_path_of_inkling(tmp_path: Path) -> None:
    for root_path in ("/models-of-ours", "/models/digits", "/v"):
        assert create_app(Settings(home=tmp_path, root_path=root_path))


def test_the_key_protects_what_head_shows(tmp_path: Path) -> None:
    with serving(Settings(home=tmp_path / "home", api_key=KEY)) as found:
        assert found.client.head("/feedback").status_code == 401
        assert found.client.head("/feedback", headers=WITH_KEY).status_code == 200
