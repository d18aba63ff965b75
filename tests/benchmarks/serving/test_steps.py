import pytest

from benchmarks.serving import steps


def test_every_step_takes_time() -> None:
    found = steps.measure(seconds=0.001, repeats=1)
    assert tuple(found) == steps.SINGLE
    assert min(found.values()) > 0


def test_the_limit_is_the_bare_server_and_all_steps_one_after_the_other() -> None:
    # 40 us in the bare server and 10 + 20 + 30 + 40 + 60 us in the steps are 200 us a request.
    found = dict(zip(steps.SINGLE, (10e-6, 20e-6, 30e-6, 40e-6, 60e-6), strict=True))
    assert steps.limit(25_000, found) == pytest.approx(5000)


def test_the_limit_of_a_batch_leaves_the_request_out() -> None:
    found = {"multipart parse": 1.0, "decode": 20e-6, "normalise": 20e-6, "batched forward": 10e-6, "JSON": 1.0}
    assert steps.max_client_batch(found) == pytest.approx(20_000)
