"""The routes; tests/app/processes/test_job_runner.py tests the process that runs the jobs."""

import json
import threading

import httpx
import pytest

from app.settings import Settings
from tests.support.service import KEY, WITH_KEY, Server, check_problem, running

FIELDS = [
    *("id", "state", "created_at", "started_at", "finished_at", "epoch", "epochs", "progress", "metrics"),
    *("reason", "version"),
]


def test_a_job_is_accepted_at_once_and_one_at_a_time(idle: Server) -> None:
    answer = idle.client.post("/retrain")
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/retrain/{job['id']}")
    assert list(job) == FIELDS
    assert (job["state"], job["progress"], job["reason"]) == ("queued", 0, None)
    assert check_problem(idle.client.post("/retrain"), 409, "job-running", job["id"])["job"] == job["id"]
    assert idle.client.get("/retrain").json() == {"jobs": [job]}


def test_where_no_jobs_run_a_job_is_refused(tmp_path) -> None:
    with running(Settings(home=tmp_path / "home", api_key=KEY, run_jobs=False)) as server:
        check_problem(server.client.post("/retrain", headers=WITH_KEY), 409, "no-job-host", "INKLING_RUN_JOBS")
        assert server.client.get("/retrain").json() == {"jobs": []}


def test_every_parameter_reaches_the_job(idle: Server) -> None:
    given = {
        **{"network": "net", "epochs": 3, "start_from": "scratch", "use_feedback": False},
        **{"seed": 2**63 - 1, "learning_rate": 0.01, "activate": "manual"},
    }
    job = idle.client.post("/retrain", content=json.dumps(given)).json()
    assert idle.app.state.jobs.get(job["id"]).parameters == given


@pytest.mark.parametrize(
    "body, field, words",
    [
        ({"colour": 1}, "colour", ["known are network, epochs"]),
        ({"network": "resnet"}, "network", ["net"]),
        ({"network": "net"}, "network", ["start_from: scratch"]),
        ({"epochs": 0}, "epochs", []),
        ({"epochs": "3"}, "epochs", []),
        ({"epochs": True}, "epochs", []),
        ({"start_from": "v7"}, "start_from", ["scratch"]),
        ({"use_feedback": "no"}, "use_feedback", []),
        ({"seed": -1}, "seed", []),
        ({"seed": 2**63}, "seed", []),
        ({"learning_rate": 0}, "learning_rate", []),
        ({"learning_rate": 2}, "learning_rate", []),
        ({"activate": "never"}, "activate", ["manual"]),
        ([], "body", []),
        ("words", "body", []),
    ],
)
def test_an_invalid_parameter_is_422(body: object, field: str, words: list[str], idle: Server) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = idle.client.post("/retrain", content=content)
    assert check_problem(answer, 422, "bad-parameter", *words)["field"] == field
    assert idle.client.get("/retrain").json() == {"jobs": []}


def test_a_number_that_is_not_finite_is_422(idle: Server) -> None:
    for number in ("NaN", "Infinity", "-Infinity", "1e999"):
        answer = idle.client.post("/retrain", content=f'{{"learning_rate": {number}}}')
        check_problem(answer, 422, "bad-parameter")


def test_a_large_body_is_413(idle: Server) -> None:
    check_problem(idle.client.post("/retrain", content=b" " * 100_000), 413, "body-too-large")


def test_the_same_idempotency_key_gives_the_same_job(idle: Server) -> None:
    headers = {"Idempotency-Key": "again"}
    first = idle.client.post("/retrain", json={"seed": 1}, headers=headers)
    again = idle.client.post("/retrain", json={"seed": 1}, headers=headers)
    assert (again.status_code, again.json()) == (202, first.json())
    other = idle.client.post("/retrain", json={"seed": 2}, headers=headers)
    check_problem(other, 422, "idempotency-key-reused", first.json()["id"])
    answer = idle.client.post("/retrain", headers={"Idempotency-Key": "x" * 256})
    check_problem(answer, 422, "bad-parameter", "255")


def test_a_job_can_be_cancelled_once(idle: Server) -> None:
    job = idle.client.post("/retrain").json()
    answer = idle.client.delete(f"/retrain/{job['id']}")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
    again = idle.client.delete(f"/retrain/{job['id']}")
    assert check_problem(again, 409, "job-ended", "cancelled")["job"] == job["id"]


@pytest.mark.parametrize("method, path", [("GET", "x"), ("GET", "x/events"), ("DELETE", "x")])
def test_an_unknown_job_is_404(method: str, path: str, idle: Server) -> None:
    check_problem(idle.client.request(method, f"/retrain/{path}"), 404, "not-found", "'x'")


def test_only_a_request_with_the_key_sees_the_log(idle: Server) -> None:
    job = idle.client.post("/retrain").json()
    idle.app.state.jobs.update(job["id"], log="a line")
    assert idle.client.get(f"/retrain/{job['id']}").json()["log"] == "a line"
    without = httpx.get(f"{idle.url}/retrain/{job['id']}").json()
    assert list(without) == FIELDS
    assert "log" not in idle.client.get("/retrain").json()["jobs"][0]


def test_the_event_stream_sends_the_job_at_once_then_each_change_and_ends_with_the_job(idle: Server) -> None:
    job = idle.client.post("/retrain").json()
    states: list[dict] = []
    heard = threading.Event()
    with httpx.stream("GET", f"{idle.url}/retrain/{job['id']}/events", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()

        def listen() -> None:
            for line in lines:
                if line.startswith("data: "):
                    states.append(json.loads(line.removeprefix("data: ")))
                    heard.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert heard.wait(20)
        heard.clear()
        idle.app.state.jobs.update(job["id"], state="evaluating", progress=1.0, metrics={"loss": 0.5})
        assert heard.wait(20)
        idle.app.state.jobs.finish(job["id"], "rejected", "worse")
        thread.join(20)
        assert not thread.is_alive()
    assert [state["state"] for state in states] == ["queued", "evaluating", "rejected"]
    assert states[1]["metrics"] == {"loss": 0.5}
    assert states[2]["reason"] == "worse"
    with httpx.stream("GET", f"{idle.url}/retrain/{job['id']}/events", timeout=30) as answer:
        assert answer.read().startswith(b"event: job\ndata: ")
