import resource
import threading
from contextlib import ExitStack

import httpx
import torch

from app.main import create_app
from app.processes import worker
from app.settings import Settings
from models import cpus
from models.inference.batcher import DynamicBatcher
from tests.support.connection import answers, connect, request
from tests.support.service import check_problem, running, serving
from tests.support.waiting import wait_until


def test_a_device_that_is_lost_ends_the_worker_so_that_another_takes_its_place(
    tmp_path, monkeypatch, seven, encode
) -> None:
    with running(Settings(home=tmp_path / "home", runtime="torch")) as found:
        batcher = found.app.state.inference.batcher

        def fail(_: torch.Tensor) -> torch.Tensor:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(batcher.predictor, "_network", fail)
        answer = found.client.post("/predict", content=encode(seven))
        check_problem(answer, 503, "not-ready", "an illegal memory access")

        def ended() -> bool:
            try:
                httpx.get(f"{found.url}/health/live")
            except httpx.TransportError:
                return True
            return False

        wait_until(ended)


def test_an_idle_device_that_died_turns_the_worker_unready(tmp_path) -> None:
    with running(Settings(home=tmp_path / "home", runtime="torch")) as found:
        service = found.app.state.inference

        def fail(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA error: unknown error")

        idle = DynamicBatcher(service.batcher.predictor, inline=False)
        network, idle.predictor._network = idle.predictor._network, fail
        service._batcher = idle
        check_problem(found.client.get("/health/ready"), 503, "not-ready")
        idle.predictor._network = network
        assert found.client.get("/health/ready").status_code == 200


def test_a_device_that_hangs_turns_the_worker_unready_but_not_dead(tmp_path, seven, encode) -> None:
    with running(Settings(home=tmp_path / "home", runtime="torch")) as found:
        service = found.app.state.inference
        gate = threading.Event()
        hanging = DynamicBatcher(service.batcher.predictor, timeout=0.2, inline=False)
        network = hanging.predictor._network
        hanging.predictor._network = lambda inputs: gate.wait(60) and network(inputs)
        service._batcher = hanging
        try:
            answer = found.client.post("/predict", content=encode(seven))
            check_problem(answer, 503, "not-ready", "has not answered for 0.2 s")
            check_problem(found.client.get("/health/ready"), 503, "not-ready", "has not answered for 0.2 s")
            assert found.client.get("/health/live").status_code == 200
        finally:
            gate.set()
        # A busy machine may take longer than 0.2 s for an answer even now.
        wait_until(lambda: found.client.post("/predict", content=encode(seven)).status_code == 200)
        wait_until(lambda: found.client.get("/health/ready").status_code == 200)


def test_an_open_event_stream_does_not_hold_the_end_of_the_service_up(tmp_path, caplog) -> None:
    with ExitStack() as streams:
        with serving(Settings(home=tmp_path / "home")) as found:
            job = found.app.state.jobs.submit({})
            url = f"{found.url}/retrain/{job.id}/events"
            answers = [streams.enter_context(httpx.stream("GET", url, timeout=60)) for _ in range(3)]
            lines = [answer.iter_lines() for answer in answers]
            assert [next(line) for line in lines] == ["event: job"] * 3
        for line in lines:
            assert all(text.startswith("data: ") or not text for text in line)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_decoders_share_the_cores_among_the_workers_that_there_are() -> None:
    cores = cpus.usable()
    for workers in (1, cores, cores + 1):
        app = create_app(Settings(), workers=workers)
        assert app.state.inference.decoders.threads == max(1, cores // workers)


def test_connections_leave_open_files_to_all_else(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(worker, "_RESERVED_FILES", resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 3)
    live = request(b"", method=b"GET /health/live")
    with serving(Settings(home=tmp_path / "home", workers=1)) as server, ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(5)]
        for connection in connections:
            connection.sendall(live)
        for connection in connections[:3]:
            assert answers(connection, 1) == [(200, {"status": "live"})]
        wait_until(lambda: "connections wait to be accepted" in caplog.text)
        connections[0].close()
        assert answers(connections[3], 1) == [(200, {"status": "live"})]
