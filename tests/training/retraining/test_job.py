"""How a job ends once its candidate is saved; tests/app/processes/test_job_runner.py runs whole jobs."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.contract import JobSpec
from models.inference import networks
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from training.data.mnist import Digits
from training.retraining import job
from training.retraining.feedback_data import NO_FEEDBACK
from training.retraining.job import Data

Output = pytest.CaptureFixture[str]


@pytest.fixture
def saved(tmp_path: Path) -> ModelRegistry:
    """v1, v2 and the active v3; the candidate is v4."""
    found = ModelRegistry(tmp_path)
    for _ in range(4):
        found.write(networks.create("net").state_dict(), Manifest(network="net"))
    found.activate("v3")
    return found


def end(saved: ModelRegistry, capsys: Output, reason: str | None = None, **changes: Any) -> dict:
    against = changes.pop("against", "v3")
    paths = {"home": saved.folder.parent, "data": Path("data"), "feedback": Path("feedback")}
    spec = JobSpec(job_id="a", download=False, device="cpu", **{"keep_versions": 10, **paths, **changes})
    job._end(spec, saved, "v4", against, reason)
    return json.loads(capsys.readouterr().out.splitlines()[0])


def test_a_candidate_that_passes_becomes_active(saved: ModelRegistry, capsys: Output) -> None:
    assert end(saved, capsys) == {"state": "succeeded", "reason": "v4 passed and is active"}
    assert saved.active() == "v4"


def test_a_rejected_candidate_is_kept_and_not_activated(saved: ModelRegistry, capsys: Output) -> None:
    assert end(saved, capsys, "worse") == {"state": "rejected", "reason": "v4 is worse"}
    assert (saved.active(), saved.names()[-1]) == ("v3", "v4")


def test_manual_activation_leaves_the_decision_to_a_person(saved: ModelRegistry, capsys: Output) -> None:
    event = end(saved, capsys, activate="manual")
    assert event["state"] == "succeeded"
    assert "waits for POST /models/v4/activate" in event["reason"]
    assert saved.active() == "v3"


def test_a_version_that_a_person_activated_during_the_job_stays_active(saved: ModelRegistry, capsys: Output) -> None:
    event = end(saved, capsys, against="v2")
    assert event == {"state": "succeeded", "reason": "v4 passed against v2, but v3 was activated since"}
    assert saved.active() == "v3"


def test_old_versions_are_pruned(saved: ModelRegistry, capsys: Output) -> None:
    end(saved, capsys, keep_versions=2)
    assert saved.names() == ["v3", "v4"]


def test_from_scratch_feedback_is_repeated_up_to_a_bound() -> None:

    def digits(count: int) -> Digits:
        return Digits(torch.zeros(count, 28, 28, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))

    for feedback, expected in ((0, 10_000), (2, 10_100), (100, 11_000), (5_000, 15_000)):
        data = Data(digits(10_000), NO_FEEDBACK, digits(feedback), NO_FEEDBACK)
        assert len(job._mixed(data)) == expected
