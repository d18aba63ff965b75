import sys

import pytest

from benchmarks import steps
from benchmarks.serving import limit

COSTS = {"multipart": 10e-6, "decode": 20e-6, "normalise": 30e-6, "net-forward": 40e-6, "json": 60e-6}


def test_the_ceiling_is_the_bare_server_and_then_every_step() -> None:
    # 40 us in the bare server and 160 us in the steps are 200 us per request.
    assert limit.requests_per_second(25_000, COSTS) == pytest.approx(5000)


def test_the_ceiling_of_a_batch_leaves_out_the_request() -> None:
    assert limit.batch_images_per_second(COSTS | {"decode": 10e-6, "normalise": 50e-6}) == pytest.approx(10_000)


def test_the_steps_of_the_ceiling_are_steps() -> None:
    assert set(limit.STEPS) <= set(steps.NAMES)


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="binds a process to a core")
def test_the_steps_are_timed_on_a_core() -> None:
    costs = limit.measure(core=0)
    assert set(costs) == set(limit.STEPS)
    assert min(costs.values()) > 0
