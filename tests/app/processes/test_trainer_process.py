"""The process itself; test_job_runner.py tests what becomes of the jobs."""

import os
import signal
from pathlib import Path

import pytest

from app.processes.trainer_process import TrainerProcess
from models.contract import JobEvent, JobSpec
from models.registry.registry import ModelRegistry
from tests.support.feedback import write_feedback

pytestmark = pytest.mark.processes


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    """A job that fails as soon as it reads MNIST."""
    ModelRegistry(tmp_path / "home").seed("net")
    write_feedback(tmp_path / "feedback.npy", 0)
    return JobSpec(
        job_id="a",
        home=tmp_path / "home",
        data=tmp_path / "data",
        download=False,
        device="cpu",
        keep_versions=10,
        feedback=tmp_path / "feedback.npy",
    )


def events_of(trainer: TrainerProcess) -> list[JobEvent]:
    """All events that are not empty."""
    found = []
    while (event := trainer.next_event(60)) is not None:
        found += [event] if event.model_fields_set else []
    return found


def test_the_events_the_log_and_the_outcome_of_a_job_that_fails(
    spec: JobSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKLING_API_KEY", "secret")
    with TrainerProcess(spec, tmp_path / "job.json") as trainer:
        environment = Path(f"/proc/{trainer._process.pid}/environ")
        if environment.exists():
            assert b"INKLING_" not in environment.read_bytes()
        (event,) = events_of(trainer)
        assert trainer.next_event(0) is None, "the end stays the end"
    assert (event.state, trainer.outcome) == ("failed", ("failed", event.reason))
    assert event.reason is not None
    assert "INKLING_DOWNLOAD=false" in event.reason
    assert "error: MNIST is not in" in trainer.log()


def test_a_trainer_that_ends_without_an_outcome_is_a_failure_with_its_signal(spec: JobSpec, tmp_path: Path) -> None:
    with TrainerProcess(spec, tmp_path / "job.json") as trainer:
        os.kill(trainer._process.pid, signal.SIGKILL)
        assert events_of(trainer) == []
        assert trainer.outcome is None
        state, reason = trainer.failure()
    assert state == "failed"
    assert "SIGKILL" in reason
