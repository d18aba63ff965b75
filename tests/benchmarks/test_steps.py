from benchmarks import steps


def test_every_step_takes_processor_and_wall_time() -> None:
    found = steps.measure(["multipart", "decode", "net-64"], rounds=2)
    assert list(found) == ["multipart", "decode", "net-64"]
    for cost in found.values():
        assert len(cost.processor) == len(cost.wall) == 2
        assert min(cost.processor + cost.wall) > 0


def test_every_step_can_be_chosen() -> None:
    assert set(steps.steps()) == set(steps.NAMES)
