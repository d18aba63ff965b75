"""How a job ends once its candidate is saved; a whole job is run in tests/app/processes/test_job_runner.py."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.inference import networks
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from training.data.mnist import Digits
from training.retraining import job
from training.retraining.feedback_data import NONE
from training.retraining.job import Data, Order


@pytest.fixture
def saved(tmp_path: Path) -> ModelRegistry:
    """v1, v2 and the active v3; the candidate is v4."""
    found = ModelRegistry(tmp_path)
    for _ in range(4):
        found.write(networks.create("net").state_dict(), Manifest(network="net"))
    found.activate("v3")
    return found


def end(saved: ModelRegistry, capsys: pytest.CaptureFixture[str], reason: str | None = None, **changes: Any) -> dict:
    against = changes.pop("against", "v3")
    places = {"home": saved.folder.parent, "data": "data", "feedback": "feedback"}
    order = Order(job="a", download=False, device="cpu", **{"keep_versions": 10, **places, **changes})
    job._end(order, saved, "v4", against, reason)
    return json.loads(capsys.readouterr().out.splitlines()[0])


def test_one_that_passes_takes_over(saved: ModelRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(saved, capsys) == {"state": "succeeded", "reason": "v4 passed and is active"}
    assert saved.active() == "v4"


def test_one_that_does_not_pass_stays_beside(saved: ModelRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    assert end(saved, capsys, "worse") == {"state": "rejected", "reason": "v4 is worse"}
    assert (saved.active(), saved.names()[-1]) == ("v3", "v4")


def test_a_person_may_want_to_decide(saved: ModelRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    told = end(saved, capsys, activate="manual")
    assert told["state"] == "succeeded"
    assert "waits for POST /models/v4/activate" in told["reason"]
    assert saved.active() == "v3"


def test_what_a_person_activated_meanwhile_stays(saved: ModelRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    told = end(saved, capsys, against="v2")
    assert told == {"state": "succeeded", "reason": "v4 passed against v2, but v3 was activated meanwhile"}
    assert saved.active() == "v3"


def test_old_versions_go(saved: ModelRegistry, capsys: pytest.CaptureFixture[str]) -> None:
    end(saved, capsys, keep_versions=2)
    assert saved.names() == ["v3", "v4"]


def test_from_scratch_corrections_are_repeated_but_not_for_ever() -> None:

    def digits(count: int) -> Digits:
        return Digits(torch.zeros(count, 28, 28, dtype=torch.uint8), torch.zeros(count, dtype=torch.int64))

    for corrections, expected in ((0, 10_000), (2, 10_100), (100, 11_000), (5_000, 15_000)):
        data = Data(digits(10_000), NONE, digits(corrections), NONE)
        assert len(job._mixed(data)) == expected
