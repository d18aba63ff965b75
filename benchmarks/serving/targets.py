"""What Inkling promises against the other sides, as ratios within one run."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.serving.sides import BATCH
from benchmarks.serving.steps import limit, max_client_batch
from benchmarks.tables import Target
from benchmarks.wrk import Load

Rounds = Mapping[tuple[str, int], Sequence[Load]]
"""Of each side and number of connections, what was measured in each round."""


def ratios(rounds: Rounds, steps: Sequence[Mapping[str, float]]) -> list[Target]:
    def of(side: str, connections: int) -> list[Load]:
        return list(rounds.get((side, connections), ()))

    def against(ours: str, theirs: str, connections: int) -> list[float]:
        """Against their faster setting, where they were timed with and without batching."""
        settings = [
            _by_round(lambda a, b: a.rate / b.rate, of(ours, connections), of(name, connections))
            for name in (theirs, f"{theirs}-batching")
        ]
        return min(filter(None, settings), key=median, default=[])

    def against_limit(connections: int) -> list[float]:
        return _by_round(
            lambda ours, bare, step: ours.rate / limit(bare.rate, step),
            of("inkling-multipart", connections),
            of("bare", connections),
            steps,
        )

    batch = max(
        (_by_round(lambda a, s: a.rate * BATCH / max_client_batch(s), of("inkling-batch", c), steps) for c in (1, 2)),
        key=lambda values: median(values or [0.0]),
    )
    latency = _by_round(lambda a, b: a.median / b.median, of("inkling-multipart", 1), of("fastapi", 1))
    found = [
        Target("multipart against plain FastAPI, 16 connections", 2.5, 4, against("inkling-multipart", "fastapi", 16)),
        Target("multipart against plain FastAPI, 64 connections", 3, 4, against("inkling-multipart", "fastapi", 64)),
        Target("raw body against plain FastAPI's multipart, 64", 3, 5, against("inkling-raw", "fastapi", 64)),
    ]
    for name, side in (("LitServe", "litserve"), ("BentoML", "bentoml")):
        for c in (16, 64):
            found.append(Target(f"multipart against {name}, {c}", 5, 10, against("inkling-multipart", side, c)))
    return [
        *found,
        Target("multipart against the limit, 16", 0.6, 0.8, against_limit(16)),
        Target("multipart against the limit, 64", 0.6, 0.8, against_limit(64)),
        Target("median latency against plain FastAPI, 1 connection", 0.8, 0.5, latency, at_most=True),
        Target("batch of 64, images a second against their limit", 0.7, 0.9, batch),
        Target(
            "default network against plain FastAPI with the small one, 64",
            1.2,
            2,
            against("inkling-default", "fastapi", 64),
        ),
        Target(
            "with logs and metrics against without, 64", 0.9, None, against("inkling-multipart", "inkling-silent", 64)
        ),
    ]


def _by_round(ratio: Callable[..., float], *sides: Sequence[object]) -> list[float]:
    """Within a round both sides met the same noise; a side that lacks a round lacks the ratio."""
    if len({len(side) for side in sides}) != 1:
        return []
    return [ratio(*values) for values in zip(*sides, strict=True)]
