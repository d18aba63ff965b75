import base64
import json
import re
import socket
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.service import KEY, WITH_KEY, Server, check_problem
from tests.support.waiting import wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

pytestmark = pytest.mark.processes


def logged(server: Server, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first line of the log that is wanted, once it is there."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        assert server.log is not None
        lines = server.log.read_text().splitlines(keepends=True)
        found[:] = [line for text in lines if text.endswith("\n") and wanted(line := json.loads(text))]
        return bool(found)

    wait_until(look)
    return found[0]


def line_of(server: Server, answer: httpx.Response) -> dict[str, Any]:
    return logged(server, lambda line: line.get("request_id") == answer.headers["x-request-id"])


def test_a_request_is_one_line_with_its_route(two_workers: Server, seven, encode) -> None:
    answer = two_workers.client.post(f"/predict?key={KEY}", content=encode(seven), headers={"traceparent": PARENT})
    assert answer.headers["traceparent"] == PARENT
    line = line_of(two_workers, answer)
    duration = line.pop("duration")
    assert 0 < duration < 60
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": answer.headers["x-request-id"],
        "method": "POST",
        "route": "/predict",
        "status": 200,
        "trace_id": TRACE,
    }


@pytest.mark.parametrize(
    "method, path, status, route, problem",
    [
        ("GET", "/models/v1", 200, "/models/{version}", None),
        ("GET", "/models/v77", 404, "/models/{version}", "not-found"),
        ("GET", "/a/path/of/somebody", 404, "unmatched", "not-found"),
        ("PUT", "/predict", 405, "/predict", "method-not-allowed"),
        ("POST", "/predict", 400, "/predict", "empty-body"),
        ("GET", "/feedback", 401, "/feedback", "wrong-key"),
        ("GET", "/docs", 200, "/docs", None),
        ("GET", "/retrain/none/events", 404, "/retrain/{id}/events", "not-found"),
        ("PROPFIND", "/", 405, "/", "method-not-allowed"),
    ],
)
def test_every_answer_has_an_id_and_its_line_no_path(
    method: str, path: str, status: int, route: str, problem: str | None, two_workers: Server
) -> None:
    answer = two_workers.client.request(method, path)
    assert answer.status_code == status
    line = line_of(two_workers, answer)
    assert (line["status"], line["route"], line.get("problem")) == (status, route, problem)
    assert line["method"] == (method if method != "PROPFIND" else "other")


def test_well_formed_ids_are_taken_over(server: Server) -> None:
    taken = ["x", "a1.B2_c3:d4/e5+f6=@-", "i" * 128]
    for identity in taken:
        assert server.client.get("/nothing", headers={"X-Request-ID": identity}).headers["x-request-id"] == identity
    made = set()
    for identity in ("", "i" * 129, "a b", "a\tb", 'a"b', "ä", "{{7*7}}", "<script>"):
        answer = server.client.get("/health/live", headers={"X-Request-ID": identity.encode("latin-1")})
        assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", answer.headers["x-request-id"]), identity
        made.add(answer.headers["x-request-id"])
    assert len(made) == 8


@pytest.mark.parametrize(
    "parent",
    [
        "",
        TRACE,
        PARENT.replace("00-", "ff-", 1),
        PARENT.replace(TRACE, "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
        PARENT.upper(),
        PARENT + "-more",
        PARENT[:-1],
    ],
)
def test_a_malformed_traceparent_is_ignored(parent: str, server: Server) -> None:
    answer = server.client.get("/health/live", headers={"traceparent": parent})
    assert (answer.status_code, "traceparent" in answer.headers) == (200, False)


def test_bytes_that_are_not_http_are_answered_with_an_id_and_recorded(two_workers: Server) -> None:
    host, port = two_workers.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"\x16\x03\x01 no request\r\n\r\n")
        answer = connection.recv(10_000).decode()
    identity = re.search(r"x-request-id: (\S+)\r\n", answer)
    assert identity, answer
    line = logged(two_workers, lambda line: line.get("request_id") == identity[1])
    assert (line["status"], line["route"], line["method"]) == (400, "unmatched", "other")


def test_a_client_that_disconnects_is_recorded_as_499(two_workers: Server) -> None:
    host, port = two_workers.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: leaves\r\nContent-Length: 1000\r\n\r\nonly this"
        connection.sendall(head)
    line = logged(two_workers, lambda line: line.get("request_id") == "leaves")
    assert (line["status"], line["route"]) == (499, "/predict")


def test_probes_and_metrics_are_not_logged_and_no_line_shows_a_key_or_an_image(
    two_workers: Server, seven, encode
) -> None:
    picture, client = encode(seven), two_workers.client
    assert client.post("/predict", content=picture).status_code == 200
    assert client.post("/predict", content=picture[: len(picture) // 2]).status_code == 422
    assert client.post("/predict", content=KEY.encode() + picture).status_code == 415
    for headers in (WITH_KEY, {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": "wrong" + KEY}):
        client.get("/feedback", headers=headers)
        client.get(f"/feedback?key={KEY}&api_key={KEY}", headers=headers)
        client.get(f"/{KEY}/{KEY}", headers=headers)
        client.delete(f"/feedback/{KEY}", headers=headers)
        client.get(f"/retrain/{KEY}", headers=headers)
        client.post("/retrain", json={KEY: 1}, headers=headers)
    for path in ("/health", "/health/live", "/health/ready", "/metrics"):
        client.get(path, headers={"X-Request-ID": "unlogged"})
    last = client.get(f"/models/{KEY}", headers={**WITH_KEY, "X-Request-ID": "the-last"})
    check_problem(last, 404, "not-found")
    line_of(two_workers, last)
    assert two_workers.log is not None
    log = two_workers.log.read_bytes()
    assert b"unlogged" not in log
    everything = log + client.get("/metrics").content
    for secret in (KEY.encode(), KEY.replace(" ", "%20").encode(), picture[8:40], base64.b64encode(picture)[:40]):
        assert secret not in everything
    assert repr(picture[8:40])[2:-1].encode() not in everything
