"""Every test of a call runs with both clients: `Waiting` gives AsyncClient the interface of Client."""

import asyncio
import contextlib
import io
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from app import client as clients
from app.client import (
    AsyncClient,
    BadPicture,
    Busy,
    Client,
    ClientError,
    Conflict,
    KeyRefused,
    NotFound,
    PictureRefused,
    Prediction,
    Problem,
    Unreachable,
)
from app.settings import Settings
from tests.support.environment import ROOT
from tests.support.service import KEY, Server, serving
from tests.support.waiting import wait_until


class Waiting:
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **options)

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*arguments: Any, **options: Any) -> Any:
            found = method(*arguments, **options)
            return self._each(found) if hasattr(found, "__anext__") else self._runner.run(found)

        return call

    def _each(self, items: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._runner.run(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(items.aclose())


@pytest.fixture(params=[Client, Waiting], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(Settings(home=tmp_path_factory.mktemp("home"), api_key=KEY)) as found:
        yield found


@pytest.fixture
def client(kind: Any, idle: Server) -> Iterator[Client]:
    with kind(f"{idle.url}/", KEY) as found:
        yield found


class Scripted:
    """A server that gives these answers, one after another, for what no real service does when it is asked to.

    An answer is a status, headers and a body; None breaks the connection instead.
    """

    def __init__(self, *answers: tuple[int, dict[str, str], str] | None) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        remaining = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def answer(handler) -> None:  # noqa: N805
                handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
                self.requests.append((handler.command, handler.path, dict(handler.headers)))
                handler.close_connection = True
                if (found := remaining.pop(0)) is None:
                    return
                status, headers, body = found
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name, value)
                handler.end_headers()
                handler.wfile.write(body.encode())

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Scripted":
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


PREDICTION = json.dumps(
    {"digit": 7, "confidence": 1.0, "probabilities": [0.0] * 10, "verdict": "digit", "model": "v1", "steps": []}
)


def job_in(state: str, **members: Any) -> str:
    whole = {"id": "a", "state": state, "created_at": "2026-11-23T10:00:00Z", "started_at": None, "finished_at": None}
    whole |= {"epoch": None, "epochs": None, "progress": 0, "metrics": {}, "reason": None, "version": None}
    return json.dumps(whole | members)


def test_each_kind_of_picture_is_answered_as_its_file(client: Client, idle: Server, seven, encode) -> None:
    Path("seven.png").write_bytes(encode(seven))
    grey = np.asarray(seven)
    coloured = np.stack([grey] * 3, axis=-1)
    opaque = np.dstack([coloured, np.full_like(grey, 255)])
    expected = idle.predict(encode(seven))
    kinds = ["seven.png", Path("seven.png"), encode(seven), seven, grey, grey / 255, coloured, opaque, grey[:, ::-1]]
    for picture in kinds[:-1]:
        answer = client.predict(picture)
        assert (answer.digit, answer.verdict, answer.model) == (7, "digit", expected["model"])
        assert answer.probabilities == pytest.approx(expected["probabilities"], abs=1e-5)
        assert answer.steps == tuple(expected["steps"])
    assert client.predict(kinds[-1]).probabilities != pytest.approx(expected["probabilities"], abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (28, 28), (3, 5, 3), (5, 3, 4)])
def test_an_array_becomes_a_png_of_the_same_pixels(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for given in (array, array / 255, (array / 255).astype(np.float32), np.asfortranarray(array)):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(clients._encoded(given)))), array)


def test_a_pillow_image_is_oriented_by_its_exif_tag(encode, seven) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.open(io.BytesIO(encode(seven.transpose(Image.Transpose.ROTATE_90), exif=exif)))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(clients._encoded(turned)))), np.asarray(seven))


@pytest.mark.parametrize(
    "picture, words",
    [
        ("missing.png", r"missing\.png cannot be read: No such file"),
        ("a\0b", "cannot be read: .*null"),
        (Path(), r"\. cannot be read: Is a directory"),
        (7, "a int is not a picture"),
        (np.zeros((2, 2, 2), np.uint8), r"shape \[2, 2, 2\]; expected \[H, W\]"),
        (np.zeros(4, np.uint8), r"shape \[4\]; expected"),
        (np.zeros((0, 4), np.uint8), r"shape \[0, 4\]; expected"),
        (np.full((2, 2), 255.0), "floats from 255 to 255; expected 0 to 1, or uint8"),
        (np.full((2, 2), np.nan), "floats from nan"),
        (np.zeros((2, 2), np.int64), "an array of int64; expected uint8"),
        (Image.new("CMYK", (2, 2)), "mode CMYK, cannot be written as PNG"),
    ],
)
def test_a_picture_that_cannot_be_sent(picture: Any, words: str, client: Client) -> None:
    with pytest.raises(BadPicture, match=words):
        client.predict(picture)


def test_a_picture_that_is_refused(client: Client) -> None:
    with pytest.raises(PictureRefused, match="415: unsupported image format") as caught:
        client.predict(b"words")
    problem = caught.value
    assert (problem.status, problem.type) == (415, "/problems/unknown-format")
    assert problem.title
    for data in (b"", clients._encoded(np.zeros((40, 40), np.uint8))):
        with pytest.raises(PictureRefused, match=r"400|422"):
            client.predict(data)
    huge = clients._encoded(np.zeros((8, 8), np.uint8)).replace(b"\0\0\0\x08\0\0\0\x08", b"\0\0\xff\xff\0\0\xff\xff")
    with pytest.raises(PictureRefused) as caught:
        client.predict(huge)
    assert caught.value.members == {"limit": 50_000_000}


def test_many_pictures_are_answered_in_order_each_or_with_its_error(client: Client, seven, encode) -> None:
    good = encode(seven)
    found = list(client.predict_many([good, b"words", "missing.png", good, seven], concurrency=2))
    assert [type(outcome) for outcome in found] == [Prediction, PictureRefused, BadPicture, Prediction, Prediction]
    assert list(client.predict_many([])) == []
    with pytest.raises(ValueError, match="concurrency: expected 1 or more, got 0"):
        list(client.predict_many([good], concurrency=0))


def test_concurrency_bounds_the_requests_in_flight(kind: Any) -> None:
    together, lock = threading.Barrier(3), threading.Lock()
    under_way, most, taken = 0, 0, 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal under_way, most
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                under_way += 1
                most = max(most, under_way)
            together.wait(30)
            with lock:
                under_way -= 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PREDICTION.encode())

        def log_message(self, *_: object) -> None:
            pass

    def pictures() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(6):
            taken += 1
            yield b"x"

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with kind(f"http://127.0.0.1:{server.server_port}") as client:
            answers = client.predict_many(pictures(), concurrency=3)
            next(answers)
            assert taken == 3
            assert len(list(answers)) == 5
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert most == 3


def test_an_error_that_concerns_no_picture_ends_predict_many(kind: Any) -> None:
    with kind("http://127.0.0.1:9", retry_seconds=0) as client, pytest.raises(Unreachable):
        list(client.predict_many([b"x"] * 5, concurrency=2))


def test_a_503_with_retry_after_is_repeated(
    client: Client, idle: Server, seven, encode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "httpx")
    picture = encode(seven)
    with ThreadPoolExecutor(1) as pool:
        with idle.full():
            answer = pool.submit(client.predict, picture)
            wait_until(lambda: "503" in caplog.text or answer.done())
        assert answer.result(60).digit == 7


def test_a_full_service_that_stays_full(kind: Any, idle: Server, seven, encode) -> None:
    with idle.full(), kind(idle.url, retry_seconds=0) as client, pytest.raises(Busy, match="503: no room") as caught:
        client.predict(encode(seven))
    assert caught.value.retry_after == 1
    assert caught.value.members == {"limit": 256}


@pytest.mark.parametrize(
    "value, seconds",
    [("2", 2), (" 2 ", 2), ("", None), ("soon", None), ("-1", None), ("Sat, 01 Jan 2000 00:00:00 GMT", 0)],
)
def test_how_long_a_service_asks_to_wait(value: str, seconds: float | None) -> None:
    assert clients._retry_after(value) == seconds


def test_a_503_without_retry_after_is_not_repeated(kind: Any) -> None:
    with (
        Scripted((503, {}, "<h1>Bad   gateway</h1>")) as server,
        kind(server.url) as client,
        pytest.raises(Busy) as caught,
    ):
        client.versions()
    assert str(caught.value) == "503: <h1>Bad gateway</h1>"
    assert (caught.value.type, caught.value.retry_after) == ("about:blank", None)


def test_only_an_idempotent_call_is_repeated_after_a_lost_answer(kind: Any) -> None:
    with Scripted(None, None, (200, {}, PREDICTION)) as server, kind(server.url) as client:
        assert client.predict(b"x").digit == 7
    with Scripted(None, (202, {}, job_in("queued"))) as server, kind(server.url) as client:
        assert client.retrain(seed=1).state == "queued"
    keys = {headers["Idempotency-Key"] for _, _, headers in server.requests}
    assert (len(server.requests), len(keys)) == (2, 1)
    with Scripted(None) as server, kind(server.url) as client, pytest.raises(Unreachable, match="does not answer"):
        client.cancel("a")


def test_a_broken_stream_is_resumed(kind: Any) -> None:
    def stream(*jobs: str) -> tuple[int, dict[str, str], str]:
        return (
            200,
            {"Content-Type": "text/event-stream"},
            "".join(f"event: job\ndata: {job}\n\n: x\n\n" for job in jobs),
        )

    script = [stream(job_in("queued"), job_in("running")), None, stream(job_in("running"), job_in("succeeded"))]
    with Scripted(*script) as server, kind(server.url) as client:
        states = [job.state for job in client.follow("a")]
    assert states == ["queued", "running", "running", "succeeded"]
    with Scripted(stream(job_in("queued"))) as server, kind(server.url, retry_seconds=0) as client:
        news = client.follow("a")
        assert next(news).state == "queued"
        with pytest.raises(Unreachable, match="the stream ended before the job did"):
            next(news)


def test_versions_and_activation(client: Client, idle: Server) -> None:
    found = client.versions()
    assert found.active == "v1"
    (version,) = found.versions
    assert (version.version, version.network, version.state) == ("v1", "convnet", "released")
    assert version.created_at.tzinfo is not None
    assert version.metrics["held_out"]["accuracy"] > 0.99
    assert client.activate("v1") == version
    with pytest.raises(NotFound, match="404: there is no version 'v9'") as caught:
        client.activate("v9")
    assert caught.value.type == "/problems/not-found"
    for name in ("../health", "..", "a?b#c", "ä/"):
        with pytest.raises(NotFound):
            client.activate(name)
    with pytest.raises(ClientError, match="got an empty one"):
        client.activate("")


def test_feedback(client: Client, seven) -> None:
    stored = client.feedback(seven, 1)
    assert (stored.label, stored.prediction, stored.model, stored.replaced) == (1, 7, "v1", False)
    again = client.feedback(np.asarray(seven), 7)
    assert (again.id, again.replaced) == (stored.id, True)
    counts = client.feedback_counts()
    assert (counts.total, counts.by_label[7]) == (1, 1)
    assert all(isinstance(day, date) for day in counts.by_day)
    client.delete_feedback(stored.id)
    assert client.feedback_counts().total == 0
    with pytest.raises(NotFound):
        client.delete_feedback(stored.id)
    with pytest.raises(Problem, match="422: label: expected a digit from 0 to 9") as caught:
        client.feedback(seven, 10)
    assert caught.value.members == {"field": "label"}


def test_a_job_from_its_start_to_its_end(client: Client, idle: Server) -> None:
    job = client.retrain(epochs=2, idempotency_key=f"once {type(client)}")
    assert client.retrain(epochs=2, idempotency_key=f"once {type(client)}").id == job.id
    assert client.job(job.id).log == ""
    assert job in client.jobs()
    with pytest.raises(Conflict) as caught:
        client.retrain()
    assert caught.value.job == job.id
    states = client.follow(job.id)
    assert next(states).state == "queued"
    assert client.cancel(job.id).state == "cancelled"
    assert [news.state for news in states] == ["cancelled"]
    with pytest.raises(Conflict, match="409"):
        client.cancel(job.id)
    with pytest.raises(NotFound):
        next(client.follow("nobody"))
    with pytest.raises(Problem, match="422: learning_rate"):
        client.retrain(learning_rate=float("nan"))


def test_retraining_can_be_waited_for(client: Client, idle: Server) -> None:
    jobs = idle.app.state.jobs
    before = len(jobs.list_newest())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.retrain, follow=True)
        wait_until(lambda: len(jobs.list_newest()) > before or waiting.done())
        jobs.finish(jobs.list_newest()[0].id, "rejected", "v2 is worse")
        job = waiting.result(60)
    assert (job.state, job.reason, job.ended) == ("rejected", "v2 is worse", True)


def test_the_key_and_the_url_come_from_the_environment_where_none_is_given(
    kind: Any, idle: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKLING_URL", idle.url)
    monkeypatch.setenv("INKLING_API_KEY", f"{KEY}\n")
    with kind() as client:
        assert client.feedback_counts().total == 0
    for wrong in ("wrong", "schlüssel ☃", ""):
        with kind(key=wrong) as client, pytest.raises(KeyRefused, match="401: the key is"):
            client.feedback_counts()


def test_a_service_without_a_key(kind: Any, server: Server) -> None:
    with kind(server.url, "x") as client, pytest.raises(KeyRefused, match=r"403: .*INKLING_API_KEY"):
        client.retrain()


def test_an_unreachable_service(kind: Any) -> None:
    with kind("http://me:secret@127.0.0.1:9", retry_seconds=0.3) as client:
        with pytest.raises(Unreachable, match=r"^http://127.0.0.1:9 does not answer: .*INKLING_URL") as caught:
            client.versions()
        assert "secret" not in str(caught.value)
        with pytest.raises(Unreachable, match="does not answer"):
            next(client.follow("a"))


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "<html>"),
        (200, {}, "[]"),
        (200, {}, "{}"),
        (204, {}, ""),
        (302, {"Location": "/"}, ""),
        (200, {}, "3"),
    ],
)
def test_a_server_that_is_not_inkling(answer: Any, kind: Any) -> None:
    with Scripted(answer) as server, kind(server.url) as client, pytest.raises(Unreachable) as caught:
        client.versions()
    assert str(caught.value).endswith("but is not Inkling; url, or INKLING_URL, names the service")


@pytest.mark.parametrize(
    "url", ["nowhere", "ftp://host", "http://[", "http://host:port", "http://", f"http://{64 * 'a'}.example"]
)
def test_an_invalid_url(url: str, kind: Any) -> None:
    with pytest.raises(ClientError, match="INKLING_URL"):
        kind(url)


@pytest.mark.parametrize("key", ["two\nlines", "nul\0", "\udcff"])
def test_an_invalid_key_is_not_shown(key: str, kind: Any) -> None:
    with pytest.raises(ClientError, match="the key") as caught:
        kind("http://127.0.0.1:9", key)
    assert key not in str(caught.value)


def test_the_file_alone_is_enough(idle: Server, tmp_path: Path, seven, encode) -> None:
    """In another folder, with nothing but httpx and what that needs to import from, it reads a picture."""
    shutil.copy(ROOT / "app" / "client.py", tmp_path / "reader.py")
    (tmp_path / "seven.png").write_bytes(encode(seven))
    httpx_folder = str(Path(httpx.__file__).parents[1])
    script = f"""
import sys
sys.path[:0] = [{str(tmp_path)!r}, {httpx_folder!r}]
import reader
for name in ("app", "models", "inkling"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(name + " can be imported")
with reader.Client({idle.url!r}) as client:
    print(client.predict("seven.png").digit)
print(sorted({{"torch", "numpy", "PIL", "pydantic", "fastapi"}} & set(sys.modules)))
"""
    command = [sys.executable, "-I", "-S", "-c", script]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("7\n[]\n", "")


def test_abandoned_requests_are_cancelled(client: Client, seven, encode) -> None:
    with contextlib.closing(client.predict_many([encode(seven)] * 9, concurrency=3)) as answers:
        assert next(answers).digit == 7
    assert client.predict(seven).digit == 7
