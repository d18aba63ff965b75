import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from app.api.keys import Keys
from app.observability.multiprocess import MultiprocessStore
from app.processes.sockets import listen
from app.processes.supervisor import WorkerSlot
from app.settings import Settings
from models import cpus
from models.registry.registry import ModelRegistry
from models.registry.version_files import WEIGHTS
from tests.support.disk import make_empty, make_full, read_only
from tests.support.environment import ROOT, without
from tests.support.processes import workers
from tests.support.service import KEY, WITH_KEY, Server, check_problem, closing, free_port, spawn
from tests.support.versions import another, compiled
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

Run = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., Server]


def check_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Status 2, and one line at the end of standard error that says what to correct."""
    assert result.returncode == 2, result.stderr
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert "Traceback" not in result.stderr


def test_a_taken_port_is_an_error_at_start(run: Run, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = run("serve", INKLING_PORT=port, INKLING_HOME=str(tmp_path / "home"))
    check_refused(result, f"127.0.0.1:{port}", "in use", "INKLING_PORT")
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_is_an_error_at_start(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    result = run("serve", INKLING_PORT=str(free_port()), INKLING_HOME=str(tmp_path / "file" / "home"))
    check_refused(result, f"{tmp_path}/file/home", "cannot be written by uid")


def test_a_missing_device_is_an_error_at_start(run: Run, tmp_path: Path) -> None:
    result = run("serve", INKLING_PORT=str(free_port()), INKLING_DEVICE="cuda:99", INKLING_HOME=str(tmp_path / "home"))
    check_refused(result, "cuda:99", "choose one of auto, cpu")


def test_a_host_that_has_no_address_is_an_error_at_start(run: Run, tmp_path: Path) -> None:
    check_refused(run("serve", INKLING_HOST="a..b", INKLING_HOME=str(tmp_path / "home")), "cannot listen on a..b")


def test_an_active_file_that_names_no_version_is_an_error_at_start(run: Run, tmp_path: Path) -> None:
    saved = ModelRegistry(tmp_path / "home")
    saved.seed("convnet")
    (saved.folder / "active").write_text("v9")
    result = run("serve", INKLING_PORT=str(free_port()), INKLING_HOME=str(tmp_path / "home"))
    check_refused(result, f"{saved.folder}/active names 'v9', which is not a version; there are v1")


def test_corrupt_weights_are_an_error_at_start(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "home"
    saved = ModelRegistry(home)
    saved.seed("convnet")
    weights = saved.folder / "v1" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    result = run("serve", INKLING_PORT=str(free_port()), INKLING_HOME=str(home))
    check_refused(result, str(weights), "sha256")


def test_sigterm_under_load_answers_what_was_accepted_and_ends_with_status_0(serve: Serve, seven, encode) -> None:
    server = serve(INKLING_WORKERS="2")
    assert server.process is not None
    supervisor = server.process.pid
    wait_until(lambda: len(workers(supervisor)) == 2)
    pictures = [encode(seven.resize((size, size))) for size in (28, 28, 28, 280, 280, 900)]
    statuses: list[int] = []
    dropped: list[Exception] = []

    def post(picture: bytes) -> None:
        with httpx.Client(timeout=60) as client:
            while True:
                try:
                    statuses.append(client.post(f"{server.url}/predict", content=picture).status_code)
                except httpx.ConnectError:
                    return  # nobody listens any more
                except httpx.TransportError as error:
                    dropped.append(error)
                    return

    threads = [threading.Thread(target=post, args=(picture,)) for picture in pictures]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(statuses) > 30)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert server.process.wait(30) == 0
    assert dropped == []
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > len(statuses) // 2


def test_ctrl_c_ends_with_status_0(serve: Serve) -> None:
    server = serve()
    assert server.process is not None
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    log = server.log.read_text()
    assert '"event":"stopping' in log
    assert "Traceback" not in log


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_workers_share_the_port_are_replaced_and_end_with_their_supervisor(serve: Serve, seven, encode) -> None:
    server = serve(INKLING_WORKERS="2")
    assert server.process is not None
    supervisor = server.process.pid
    wait_until(lambda: "inkling_workers 2" in server.client.get("/metrics").text)
    first = workers(supervisor)
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: len(set(workers(supervisor)) - set(first)) == 1)
    assert first[1] in workers(supervisor)
    assert server.predict(encode(seven))["digit"] == 7
    last = workers(supervisor)
    server.process.kill()
    wait_until(lambda: not any(alive(worker) for worker in last))


def test_a_worker_opens_as_many_files_as_the_system_allows(serve: Serve) -> None:
    here, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))  # the service inherits it
    try:
        server = serve(INKLING_WORKERS="1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (here, most))
    assert server.process is not None
    (worker,) = workers(server.process.pid)
    assert resource.prlimit(worker, resource.RLIMIT_NOFILE) == (most, most)


def restarted(server: Server) -> Server:
    """Kills the only worker, and waits until another one serves."""
    assert server.process is not None
    (worker,) = workers(server.process.pid)
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: workers(server.process.pid) not in ([], [worker]))
    wait_until(lambda: answers(server))
    return server


def answers(server: Server) -> bool:
    try:
        return server.client.get("/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_a_worker_restarts_while_the_disk_is_full(serve: Serve, seven, encode) -> None:
    server = serve(INKLING_WORKERS="1", INKLING_API_KEY=KEY)
    assert server.process is not None
    feedback = {"files": {"file": encode(seven)}, "data": {"label": "7"}, "headers": WITH_KEY}
    make_full(server.process.pid)
    restarted(server)
    assert server.predict(encode(seven))["digit"] == 7
    check_problem(server.client.post("/feedback", **feedback), 507, "storage-full")
    check_problem(server.client.post("/retrain", headers=WITH_KEY), 507, "storage-full")
    check_problem(server.client.post("/models/v1/activate", headers=WITH_KEY), 507, "storage-full")
    for path in ("/models", "/metrics", "/retrain"):
        assert server.client.get(path).status_code == 200
    make_empty(server.process.pid)
    restarted(server)
    assert server.client.post("/feedback", **feedback).status_code == 201


def test_a_worker_restarts_while_the_disk_is_read_only(serve: Serve, tmp_path: Path, seven, encode) -> None:
    server = serve(INKLING_WORKERS="1", INKLING_API_KEY=KEY)
    feedback = {"files": {"file": encode(seven)}, "data": {"label": "7"}, "headers": WITH_KEY}
    assert server.client.post("/feedback", **{**feedback, "data": {"label": "1"}}).status_code == 201
    with read_only(tmp_path / "home"):
        restarted(server)
        assert server.predict(encode(seven))["digit"] == 7
        check_problem(server.client.post("/feedback", **feedback), 507, "storage-full")
        check_problem(server.client.post("/retrain", headers=WITH_KEY), 507, "storage-full")
        check_problem(server.client.post("/models/v1/activate", headers=WITH_KEY), 507, "storage-full")
        for path in ("/feedback", "/retrain"):
            assert server.client.get(path, headers=WITH_KEY).status_code in (200, 503, 507)
        for path in ("/models", "/metrics"):
            assert server.client.get(path).status_code == 200
    assert server.client.post("/feedback", **feedback).json()["replaced"]


@pytest.mark.parametrize("active", [None, "v9", "v2", "pipe"])
def test_a_worker_that_finds_no_active_version_goes_on_with_the_one_served_last(
    active: str | None, serve: Serve, tmp_path: Path, seven, encode
) -> None:
    server = serve(INKLING_WORKERS="1")
    saved = ModelRegistry(tmp_path / "home")
    another(saved)
    another(saved)
    saved.activate("v3")
    wait_until(lambda: server.client.get("/health").json()["model"] == "v3")
    (saved.folder / "v2" / WEIGHTS).unlink()
    saved.active_file.unlink()
    if active == "pipe":
        os.mkfifo(saved.active_file)
    elif active is not None:
        saved.active_file.write_text(active)
    restarted(server)
    assert server.predict(encode(seven))["model"] == "v3"
    assert "going on with v3" in server.log.read_text()
    saved.active_file.unlink(missing_ok=True)
    saved.activate("v1")
    wait_until(lambda: server.client.get("/health").json()["model"] == "v1")


def test_requests_are_refused_at_once_while_no_worker_can_start(serve: Serve, tmp_path: Path, seven, encode) -> None:
    server = serve(INKLING_WORKERS="2")
    assert server.process is not None
    wait_until(lambda: len(workers(server.process.pid)) == 2)
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.rename(elsewhere)
    for worker in workers(server.process.pid):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: "no worker can start" in server.log.read_text())
    for method, path in [("GET", "/health/ready"), ("POST", "/predict"), ("POST", "/feedback"), ("GET", "/")]:
        answer = httpx.request(method, f"{server.url}{path}", content=encode(seven), timeout=30)
        check_problem(answer, 503, "not-ready")
        assert answer.headers["retry-after"]
    elsewhere.rename(home)
    wait_until(lambda: answers(server))
    assert httpx.post(f"{server.url}/predict", content=encode(seven), timeout=30).json()["model"] == "v1"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_a_service_without_workers_ends_as_it_should(serve: Serve, tmp_path: Path) -> None:
    server = serve(INKLING_WORKERS="1")
    assert server.process is not None
    shutil.rmtree(tmp_path / "home")
    os.kill(workers(server.process.pid)[0], signal.SIGKILL)
    wait_until(lambda: "no worker can start" in server.log.read_text())
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_a_worker_reports_how_many_workers_its_device_needs(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", device="cpu", workers=None)
    with closing(listen("127.0.0.1", 0)) as sockets:
        worker = WorkerSlot(settings, sockets, MultiprocessStore(tmp_path, 0), Keys(settings))
        worker.start()
        try:
            wait_until(lambda: worker.receive() is not None or worker.ready is not None)
            assert worker.ready is not None
            assert worker.ready.workers == settings.worker_count("cpu") == min(4, cpus.usable())
        finally:
            worker.ask_to_stop()
            worker.join(time.monotonic() + 60)


def test_localhost_answers_on_each_of_its_addresses(serve: Serve) -> None:
    server = serve(INKLING_HOST="localhost", INKLING_WORKERS="1")
    assert server.log is not None
    addresses = re.findall(r"listening on (http://[^\s\"]+)", server.log.read_text())
    assert addresses
    for address in addresses:
        assert httpx.get(f"{address}/health/live", timeout=30).status_code == 200


def test_a_worker_that_cannot_start_is_tried_again_after_a_pause(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(listen("127.0.0.1", 0)) as sockets:
        settings = Settings(device="cuda:99")
        worker = WorkerSlot(settings, sockets, MultiprocessStore(tmp_path, 0), Keys(settings))
        worker.start()
        wait_until(lambda: worker.receive() is not None)
        worker.restart_if_ended()
        assert worker.due is None, "the first time it is started again at once"
        wait_until(lambda: worker.receive() is not None)
        began = time.monotonic()
        worker.restart_if_ended()
        assert worker.due is not None
        assert began + 1 <= worker.due <= time.monotonic() + 1
        assert worker.events() == []
        assert [record.getMessage()[:30] for record in caplog.records] == ["device 'cuda:99' is not availa"] * 2
        assert caplog.records[1].getMessage().endswith("another one starts in 1 s")


def test_sigterm_while_the_model_is_loading_ends_with_status_0(tmp_path: Path) -> None:
    process = spawn("serve", INKLING_PORT=str(free_port()), INKLING_HOME=str(tmp_path / "home"))
    wait_until(lambda: bool(workers(process.pid)))
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error


def modules(script: str, **variables: str) -> set[str]:
    """The names of the packages that a Python process has imported when the script ends."""
    script += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", script]
    environment = {**os.environ, **variables}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return set(result.stdout.split())


PREDICTS = """
import asyncio, pathlib
from app.main import create_app
from app.processes import worker
from app.settings import Settings

async def predict():
    inference = create_app(Settings()).state.inference
    inference.open()
    result = await inference.submit(pathlib.Path("docs/pictures/seven.png").read_bytes())
    assert result.prediction.model == "v1"
    assert (await inference.health()).runtime == "onnxruntime-float32"

asyncio.run(predict())
"""
NEVER_SERVED_WITH = {"torch", "torchvision", "training", "onnx", "alembic", "psycopg", "structlog", "rich", "scipy"}


def test_a_worker_on_a_cpu_imports_only_what_it_serves_with(tmp_path: Path) -> None:
    saved = ModelRegistry(tmp_path / "home")
    saved.activate(another(saved))
    found = modules(PREDICTS, INKLING_HOME=str(tmp_path / "home"))
    assert found & NEVER_SERVED_WITH == set()
    assert {"onnxruntime", "numpy"} <= found


def test_no_process_of_a_service_maps_torch(serve: Serve, tmp_path: Path, seven, encode) -> None:
    saved = ModelRegistry(tmp_path / "home")
    saved.activate(another(saved))
    server = serve(INKLING_WORKERS="2")
    assert server.predict(encode(seven))["model"] == "v1"
    assert server.process is not None
    processes = [server.process.pid, *workers(server.process.pid)]
    assert len(processes) > 2
    for process in processes:
        assert "libtorch" not in Path(f"/proc/{process}/maps").read_text()


def test_the_supervisor_imports_only_what_it_needs() -> None:
    found = modules("import app.processes.supervisor, app.processes.job_runner")
    assert found & (NEVER_SERVED_WITH | {"onnxruntime", "fastapi", "numpy", "PIL"}) == set()


def test_a_runtime_that_is_missing_is_an_error_at_start_if_it_was_asked_for(run: Run, tmp_path: Path) -> None:
    variables = {"INKLING_HOME": str(tmp_path / "home"), "INKLING_PORT": str(free_port())}
    result = run("serve", INKLING_RUNTIME="onnxruntime", **variables, **without(tmp_path, "onnxruntime"))
    check_refused(result, "onnxruntime is not installed", "INKLING_RUNTIME")


def test_without_onnxruntime_torch_runs_the_weights(serve: Serve, tmp_path: Path, seven, encode) -> None:
    server = serve(**without(tmp_path, "onnxruntime"))
    assert server.client.get("/health").json()["runtime"] == "torch"
    assert server.predict(encode(seven))["digit"] == 7
    assert server.log is not None
    assert "serving v1 by torch on cpu" in server.log.read_text()


def test_without_torch_a_version_that_is_not_compiled_is_refused_by_name(
    serve: Serve, tmp_path: Path, seven, encode
) -> None:
    saved = ModelRegistry(tmp_path / "home")
    saved.activate(another(saved))
    weights, manifest, _ = compiled("convnet")
    saved.write(weights, manifest.model_copy(update={"compiled": None}))
    server = serve(INKLING_API_KEY=KEY, **without(tmp_path, "torch"))
    assert server.client.get("/health").json()["runtime"] == "onnxruntime-float32"
    answer = server.client.post("/models/v2/activate", headers=WITH_KEY)
    check_problem(answer, 409, "broken-version", "v2 has no model.onnx", "torch")
    assert server.predict(encode(seven))["model"] == "v1"
