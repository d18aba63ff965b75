"""Jobs run by the real trainer process, which these tests start, cancel and kill."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch

from app.settings import Settings
from app.storage import tables
from app.storage.database import Database, now
from app.storage.feedback import FeedbackStore
from app.storage.jobs import Jobs
from models.contract import ENDED_STATES
from models.fs import locked
from models.inference import networks
from models.inference.predictor import Prediction
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from tests.support.service import KEY, WITH_KEY, Server, running
from tests.support.waiting import wait_until

JOB_SECONDS = 300
"""How long a job may take: the trainer runs at idle priority, and the machine may be busy."""

pytestmark = pytest.mark.processes


def untrained(home: Path) -> ModelRegistry:
    """A HOME whose active version is an untrained network, which any training improves."""
    saved = ModelRegistry(home)
    torch.manual_seed(0)
    saved.activate(saved.write(networks.create("net").state_dict(), Manifest(network="net")))
    return saved


def trainers(home: Path) -> list[int]:
    """The ids of the trainer processes for this HOME."""
    listing = subprocess.run(["ps", "-axwwo", "pid,command"], capture_output=True, text=True, check=True).stdout
    found = [line.split(None, 1) for line in listing.splitlines()]
    return [int(pid) for pid, command in found if "training.retraining" in command and f"{home}/" in command]


@pytest.fixture
def server(tmp_path: Path, data_folder: Path) -> Iterator[Server]:
    untrained(tmp_path / "home")
    with running(Settings(home=tmp_path / "home", data=data_folder, download=False, api_key=KEY)) as found:
        found.client.headers.update(WITH_KEY)
        yield found
    assert trainers(tmp_path / "home") == []


def job_of(server: Server) -> dict:
    return server.client.get("/retrain").json()["jobs"][0]


def wait_for(server: Server, condition: Callable[[dict], bool]) -> dict:
    wait_until(lambda: condition(job_of(server)), JOB_SECONDS, every=0.2)
    return job_of(server)


def wait_until_it_trains(server: Server) -> dict:
    return wait_for(server, lambda job: job["epoch"] is not None or job["state"] in ENDED_STATES)


def wait_for_trainer(server: Server, home: Path) -> int:
    """Waits for the trainer process, and returns its id."""
    wait_until(lambda: len(trainers(home)) == 1, every=0.2)
    return trainers(home)[0]


def serve_long_job(serve: Callable[..., Server], home: Path, data: Path) -> Server:
    """A service as a process, with one worker, whose job would train for hours."""
    untrained(home)
    server = serve(INKLING_API_KEY=KEY, INKLING_DATA=str(data), INKLING_WORKERS="1")
    server.client.headers.update(WITH_KEY)
    server.client.post("/retrain", json={"epochs": 1000})
    wait_for_trainer(server, home)
    assert server.process is not None
    return server


def check_no_version_and_no_leftovers(server: Server, home: Path) -> None:
    assert ModelRegistry(home).names() == ["v1"]
    assert server.client.get("/models").json()["active"] == "v1"
    assert trainers(home) == []
    assert list((home / "retraining").iterdir()) == []


def test_a_job_trains_a_better_version_which_becomes_active(server: Server, tmp_path: Path, seven, encode) -> None:
    server.client.post("/feedback", files={"file": encode(seven)}, data={"label": "7"})
    server.client.post("/retrain", json={"epochs": 1})
    running = wait_until_it_trains(server)
    assert (running["state"], running["epoch"], running["epochs"]) == ("running", 1, 1)
    assert 0 < running["progress"] <= 1
    (trainer,) = trainers(tmp_path / "home")
    assert os.getpgid(trainer) == trainer
    assert os.getpriority(os.PRIO_PROCESS, trainer) == 19
    job = wait_for(server, lambda job: job["state"] in ENDED_STATES)
    assert (job["state"], job["version"], job["reason"]) == ("succeeded", "v2", "v2 passed and is active")
    assert job["created_at"] <= job["started_at"] <= job["finished_at"]
    gate = job["metrics"]["gate"]
    assert gate["active"] == "v1"
    assert gate["mnist"]["images"] == 5000
    assert gate["mnist"]["candidate_right"] > gate["mnist"]["active_right"] + 500
    assert gate["mnist"]["p_worse"] > 0.99
    wait_until(lambda: server.predict(encode(seven))["model"] == "v2")
    version = server.client.get("/models/v2").json()
    assert (version["state"], version["parent"], version["metrics"]["gate"]) == ("accepted", "v1", gate)
    manifest = ModelRegistry(tmp_path / "home").manifest("v2")
    assert server.client.get("/health").json()["runtime"] == f"onnxruntime-{manifest.compiled.precision}"
    assert manifest.training["job"] == job["id"]
    assert manifest.dataset["feedback"] + manifest.dataset["held_out_feedback"] == 1
    assert "MNIST digits" in server.client.get(f"/retrain/{job['id']}").json()["log"]
    assert list((tmp_path / "home" / "retraining").iterdir()) == []


@pytest.mark.slow
def test_a_job_from_scratch_trains_by_the_recipe_on_mnist_and_feedback(
    server: Server, tmp_path: Path, seven, encode
) -> None:
    for turn in (0, 10):
        picture = encode(seven.rotate(turn, fillcolor=255))
        server.client.post("/feedback", files={"file": picture}, data={"label": "7"}).raise_for_status()
    asked = {"start_from": "scratch", "network": "sequential", "epochs": 1, "learning_rate": 0.002}
    server.client.post("/retrain", json=asked).raise_for_status()
    seen: list[dict] = []

    def ended(job: dict) -> bool:
        seen.append(job)
        return job["state"] in ENDED_STATES

    job = wait_for(server, ended)
    assert (job["state"], job["version"], job["reason"]) == ("succeeded", "v2", "v2 passed and is active")
    states = ["queued", "running", "evaluating", "succeeded"]
    order = [states.index(one["state"]) for one in seen]
    assert order == sorted(order)
    assert {"running", "succeeded"} <= {one["state"] for one in seen}
    progress = [one["progress"] for one in seen]
    assert progress == sorted(progress)
    assert any(0 < share < 1 for share in progress)
    assert (job["epoch"], job["epochs"], job["progress"]) == (1, 1, 1.0)
    gate = job["metrics"]["gate"]
    assert gate["mnist"]["candidate_right"] > 0.85 * gate["mnist"]["images"]
    wait_until(lambda: server.predict(encode(seven))["model"] == "v2")
    manifest = ModelRegistry(tmp_path / "home").manifest("v2")
    assert (manifest.network, manifest.parent) == ("sequential", "v1")
    assert manifest.training["recipe"] == "default"
    assert [stage["epochs"] for stage in manifest.training["stages"]] == [1]
    assert [stage["learning_rate"] for stage in manifest.training["stages"]] == [0.002]
    assert manifest.dataset["feedback"] + manifest.dataset["held_out_feedback"] == 2
    log = server.client.get(f"/retrain/{job['id']}").json()["log"]
    assert "from scratch on " in log
    assert "epoch 1/1" in log
    assert list((tmp_path / "home" / "retraining").iterdir()) == []


@pytest.mark.slow
def test_contradictory_feedback_is_rejected_and_the_active_version_stays(tmp_path: Path, data_folder: Path) -> None:
    home = tmp_path / "home"
    with running(Settings(home=home, data=data_folder, initial_model="net", api_key=KEY)) as server:
        store: FeedbackStore = server.app.state.feedback
        generator = np.random.default_rng(0)
        tiles = np.kron(generator.integers(0, 2, (300, 7, 7)), np.ones((4, 4))).astype(np.uint8) * 255
        for tile, label in zip(tiles, generator.integers(0, 10, 300).tolist(), strict=True):
            store.add(tile, label, Prediction(0, 0.5, (0.1,) * 10, "unsure", "v1"))
        server.client.headers.update(WITH_KEY)
        server.client.post("/retrain", json={"epochs": 1})
        job = wait_for(server, lambda job: job["state"] in ENDED_STATES)
        assert (job["state"], job["version"]) == ("rejected", "v2")
        assert "v2 is " in job["reason"]
        assert job["metrics"]["gate"]["feedback"]["images"] >= 50
        body = server.client.get("/models").json()
        assert (body["active"], body["versions"][0]["state"]) == ("v1", "rejected")


def test_cancelling_a_job_ends_its_processes(server: Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    job = server.client.post("/retrain", json={"epochs": 1000}).json()
    wait_until_it_trains(server)
    assert len(trainers(home)) == 1
    assert server.client.delete(f"/retrain/{job['id']}").status_code == 202
    ended = wait_for(server, lambda job: job["state"] in ENDED_STATES)
    assert (ended["state"], ended["reason"]) == ("cancelled", "cancelled while it ran")
    check_no_version_and_no_leftovers(server, home)


def test_a_killed_trainer_fails_its_job_and_the_next_job_can_begin(server: Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server.client.post("/retrain", json={"epochs": 1000})
    os.kill(wait_for_trainer(server, home), signal.SIGKILL)
    job = wait_for(server, lambda job: job["state"] in ENDED_STATES)
    assert (job["state"], job["reason"]) == ("failed", "interrupted: the trainer was ended by SIGKILL")
    check_no_version_and_no_leftovers(server, home)
    again = server.client.post("/retrain").json()
    assert server.client.delete(f"/retrain/{again['id']}").status_code == 202


def test_a_job_that_another_host_has_taken_over_is_given_up(server: Server, tmp_path: Path) -> None:
    server.client.post("/retrain", json={"epochs": 1000})
    wait_for_trainer(server, tmp_path / "home")
    database = Database(Settings(home=tmp_path / "home"))
    with database.write() as connection:
        connection.execute(sa.update(tables.lock).values(host="elsewhere"))
    wait_until(lambda: trainers(tmp_path / "home") == [], every=0.2)
    database.close()


def test_without_mnist_the_job_fails_and_its_reason_names_the_settings(
    tmp_path: Path, database_url: str, seven, encode
) -> None:
    places = {"home": tmp_path / "home", "data": tmp_path / "nowhere", "database_url": database_url}
    with running(Settings(**places, download=False, api_key=KEY)) as server:
        server.client.headers.update(WITH_KEY)
        server.client.post("/feedback", files={"file": encode(seven)}, data={"label": "7"})
        assert server.client.get("/feedback").json()["by_label"] == {"7": 1}
        server.client.post("/retrain")
        job = wait_for(server, lambda job: job["state"] in ENDED_STATES)
        assert job["state"] == "failed"
        for words in (f"{tmp_path}/nowhere/MNIST/raw", "INKLING_DOWNLOAD=false", "INKLING_DATA"):
            assert words in job["reason"]
        check_no_version_and_no_leftovers(server, tmp_path / "home")


def test_stopping_the_service_fails_the_job(serve: Callable[..., Server], tmp_path: Path, data_folder: Path) -> None:
    home = tmp_path / "home"
    server = serve_long_job(serve, home, data_folder)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert trainers(home) == []
    with running(Settings(home=home, api_key=KEY)) as again:
        job = job_of(again)
        assert (job["state"], job["reason"]) == ("failed", "interrupted: the service ended while the job ran")
        check_no_version_and_no_leftovers(again, home)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=3)])
def test_a_killed_service_leaves_no_trainer_and_its_job_fails_after_the_restart(
    ahead: timedelta, serve: Callable[..., Server], tmp_path: Path, data_folder: Path, seven, encode
) -> None:
    """ahead: how far the clock was set back meanwhile."""
    home = tmp_path / "home"
    server = serve_long_job(serve, home, data_folder)
    server.process.kill()
    wait_until(lambda: trainers(home) == [])
    database = Database(Settings(home=home))
    with database.write() as connection:
        connection.execute(sa.update(tables.lock).values(heartbeat=now() + ahead))
    database.close()
    with running(Settings(home=home, data=data_folder, api_key=KEY)) as again:
        job = wait_for(again, lambda job: job["state"] in ENDED_STATES)
        assert job["state"] == "failed"
        assert job["reason"].startswith("interrupted")
        assert again.predict(encode(seven))["model"] == "v1"
        assert ModelRegistry(home).names() == ["v1"]
        assert again.client.post("/retrain", headers=WITH_KEY).status_code == 202


def test_killing_a_worker_leaves_the_job_running(
    serve: Callable[..., Server], tmp_path: Path, data_folder: Path
) -> None:
    home = tmp_path / "home"
    untrained(home)
    server = serve(INKLING_API_KEY=KEY, INKLING_DATA=str(data_folder), INKLING_WORKERS="1")
    server.client.headers.update(WITH_KEY)
    job = server.client.post("/retrain", json={"epochs": 1000}).json()
    before = wait_until_it_trains(server)["progress"]
    (trainer,) = trainers(home)
    assert server.process is not None
    children = subprocess.run(["ps", "-o", "pid,ppid", "-ax"], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in children.splitlines()[1:]]
    workers = [int(pid) for pid, parent in pairs if int(parent) == server.process.pid and int(pid) != trainer]
    for worker in workers:
        os.kill(worker, signal.SIGKILL)

    def advanced() -> bool:
        import httpx

        try:
            found = server.client.get(f"/retrain/{job['id']}").json()
        except httpx.TransportError:
            return False
        return found["state"] == "running" and found["progress"] > before

    wait_until(advanced, JOB_SECONDS, every=0.2)
    assert trainers(home) == [trainer]


def test_a_job_whose_lock_another_job_runner_holds_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    queued = Jobs.queued

    def counted(jobs: Jobs) -> str | None:
        asked.append(queued(jobs))
        return asked[-1]

    monkeypatch.setattr(Jobs, "queued", counted)
    settings = Settings(home=tmp_path / "home", data=tmp_path / "nowhere", download=False, api_key=KEY)
    with running(settings) as server:
        server.client.headers.update(WITH_KEY)
        jobs: Jobs = server.app.state.jobs
        # The lock is there before the job is, so that the job runner never finds it free.
        monkeypatch.setattr("app.storage.jobs.secrets.token_hex", lambda _: "0123456789abcdef")
        with locked(jobs.lock_file("0123456789abcdef")):
            server.client.post("/retrain").raise_for_status()
            wait_until(lambda: asked.count("0123456789abcdef") >= 2)
            assert job_of(server)["state"] == "queued"
            assert server.client.delete("/retrain/0123456789abcdef").json()["state"] == "cancelled"


def test_a_job_whose_folder_cannot_be_made_fails(tmp_path: Path) -> None:
    with running(Settings(home=tmp_path / "home", api_key=KEY)) as server:
        server.client.headers.update(WITH_KEY)
        (tmp_path / "home" / "retraining").write_text("not a folder")
        server.client.post("/retrain")
        job = wait_for(server, lambda job: job["state"] in ENDED_STATES)
        assert (job["state"], "cannot be written" in job["reason"]) == ("failed", True)
