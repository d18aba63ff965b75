import random

from prometheus_client import CollectorRegistry, Histogram

from app.observability.metric_sums import MetricSums

BOUNDS = (0.1, 0.5, 1.0)


def test_buckets_are_those_of_prometheus() -> None:
    values = [0.0, 0.1, 0.100001, 0.5, 0.7, 1.0, 1.5, 20.0]
    registry = CollectorRegistry()
    theirs = Histogram("x", "x", buckets=BOUNDS, registry=registry)
    ours = MetricSums()
    for value in values:
        theirs.observe(value)
        ours.observe("x", (), BOUNDS, [value])
    counts = ours.series["x"][()][:-1]
    running = [sum(counts[: i + 1]) for i in range(len(counts))]
    samples = [sample.value for sample in next(iter(registry.collect())).samples if sample.name == "x_bucket"]
    assert running == samples
    assert ours.series["x"][()][-1] == sum(values)


def test_sums_of_several_workers_add_up_after_serialising() -> None:
    rng = random.Random(5)
    whole, parts = MetricSums(), [MetricSums() for _ in range(3)]
    for _ in range(200):
        labels = (rng.choice("ab"), rng.choice("cd"))
        value = rng.randrange(64) / 32
        part = rng.choice(parts)
        for sums in (whole, part):
            sums.add("count", labels, 1)
            sums.observe("seconds", labels[:1], BOUNDS, [value, value / 2])
    total = MetricSums()
    for part in parts:
        total.merge(MetricSums.loads(part.dumps()))
    assert total.series == whole.series


def test_no_values_leave_a_histogram_of_zeros() -> None:
    sums = MetricSums()
    sums.observe("seconds", (), BOUNDS, [])
    assert sums.series == {"seconds": {(): [0.0] * 5}}
