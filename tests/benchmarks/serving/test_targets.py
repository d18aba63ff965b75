import pytest

from benchmarks.serving.sides import OTHER, all_sides
from benchmarks.serving.targets import ratios
from benchmarks.tables import Target
from benchmarks.wrk import Load
from tests.support.environment import ROOT

COSTS = {"multipart": 10e-6, "decode": 20e-6, "normalise": 30e-6, "net-forward": 10e-6, "json": 30e-6}


def _loads(*rates: float) -> list[Load]:
    return [Load(rate, 1 / rate, 2 / rate) for rate in rates]


def _named(found: list[Target], *words: str) -> list[float]:
    (target,) = (target for target in found if all(word in target.name for word in words))
    return pytest.approx(list(target.values))


def test_ratios_are_taken_within_each_round() -> None:
    rounds = {
        ("inkling-multipart", 64): _loads(6000, 3000),
        ("inkling-multipart", 1): _loads(4000, 2000),
        ("inkling-no-fast-path", 64): _loads(3000, 3000),
        ("fastapi", 64): _loads(2000, 500),
        ("fastapi", 1): _loads(1000, 1000),
        ("bare", 64): _loads(10_000, 10_000),
    }
    found = ratios(rounds, [COSTS, COSTS])
    assert _named(found, "multipart / plain FastAPI", "64") == [3, 6]
    assert _named(found, "median latency", "FastAPI's, 1") == [0.25, 0.5]
    assert _named(found, "multipart / the ceiling", "64") == [1.2, 0.6]  # 100 us in the bare server, 100 in the steps
    assert _named(found, "fast path", "64") == [2, 1]


def test_the_faster_setting_of_another_server_counts() -> None:
    rounds = {
        ("inkling-multipart", 16): _loads(6000, 6000),
        ("litserve", 16): _loads(500, 1500),
        ("litserve-batching", 16): _loads(2000, 1000),
    }
    assert _named(ratios(rounds, [COSTS, COSTS]), "LitServe", "16") == [3, 6]


def test_a_batch_counts_its_images() -> None:
    found = ratios({("inkling-batch", 1): _loads(100), ("inkling-batch", 2): _loads(125)}, [COSTS])
    assert _named(found, "batch of 64") == [125 * 64 * 60e-6]


def test_another_checkout_has_ratios_where_it_was_measured() -> None:
    rounds = {("inkling-multipart", 64): _loads(6000), (OTHER, 64): _loads(5000)}
    assert _named(ratios(rounds, [COSTS]), "the other", "64") == [1.2]
    assert not any("the other" in target.name for target in ratios({}, []))


def test_a_side_that_was_not_measured_has_no_ratio() -> None:
    assert {target.met for target in ratios({}, [])} == {"not measured"}


@pytest.mark.parametrize("other", [None, ROOT])
def test_the_sides_have_names_of_their_own_and_cover_all_ratios(other) -> None:
    sides = all_sides(other)
    assert len({side.name for side in sides}) == len(sides)
    assert (OTHER in {side.name for side in sides}) == bool(other)
    rounds = {(side.name, connections): _loads(1000.0) for side in sides for connections in side.connections}
    assert all(target.values for target in ratios(rounds, [COSTS]))
