"""What Inkling promises against the other sides, as ratios within one round."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.serving.limit import Costs, batch_images_per_second, requests_per_second
from benchmarks.serving.sides import BATCH, BATCH_CONNECTIONS, CONNECTIONS, OTHER
from benchmarks.tables import Target
from benchmarks.wrk import Load

Rounds = Mapping[tuple[str, int], Sequence[Load]]
"""The load of each round, by side and number of connections."""

OURS, DEFAULT = "inkling-multipart", "inkling-default"


def ratios(rounds: Rounds, costs: Sequence[Costs]) -> list[Target]:
    """All of requests per second, except where the name says otherwise."""
    found = [
        Target("multipart / plain FastAPI, 16 connections", 5.5, 8, against(rounds, OURS, "fastapi", 16)),
        Target("multipart / plain FastAPI, 64 connections", 6.5, 9, against(rounds, OURS, "fastapi", 64)),
        Target("raw body / plain FastAPI's multipart, 16", 5, 8, against(rounds, "inkling-raw", "fastapi", 16)),
        Target("raw body / plain FastAPI's multipart, 64", 6.5, 9, against(rounds, "inkling-raw", "fastapi", 64)),
        Target("median latency / plain FastAPI's, 1 connection", 0.78, 0.5, _latency(rounds, OURS), at_most=True),
    ]
    for name, side in (("LitServe", "litserve"), ("BentoML", "bentoml")):
        found += [Target(f"multipart / {name}, {c}", 5, 10, _against_faster(rounds, OURS, side, c)) for c in (16, 64)]
    for c, target in ((16, 0.7), (64, 0.8)):
        found.append(Target(f"multipart / the ceiling, {c}", target, 0.9, _against_limit(rounds, costs, c)))
    for c, target, stretch in ((16, 2.6, 3.5), (64, 3, 4)):
        ratio = against(rounds, DEFAULT, "fastapi", c)
        found.append(Target(f"default network / plain FastAPI with `net`, {c}", target, stretch, ratio))
    latency = _latency(rounds, DEFAULT)
    silent = against(rounds, OURS, "inkling-silent", 64)
    found += [
        Target("default network: median latency / plain FastAPI's with `net`, 1", 1, 0.8, latency, at_most=True),
        Target(
            "default network / FastAPI over ONNX Runtime, 64", 1.8, None, against(rounds, DEFAULT, "fastapi-onnx", 64)
        ),
        Target("default network / MLServer, 64", 1.8, None, _against_faster(rounds, DEFAULT, "mlserver", 64)),
        Target(f"batch of {BATCH}, images per second / their ceiling", 0.7, 0.9, _batch(rounds, costs)),
        Target("with logs and metrics / without, 64", 0.9, None, silent),
    ]
    for c in CONNECTIONS:
        found.append(
            Target(f"with the fast path / without, {c}", 1.1, None, against(rounds, OURS, "inkling-no-fast-path", c))
        )
    for c in CONNECTIONS if any(side == OTHER for side, _ in rounds) else ():
        found.append(Target(f"this checkout / the other, {c}", 0.95, None, against(rounds, OURS, OTHER, c)))
    return found


def _latency(rounds: Rounds, ours: str) -> list[float]:
    """The ratio of the median latencies at one connection in each round, to that of plain FastAPI with `net`."""
    return by_round(lambda a, b: a.median / b.median, _of(rounds, ours, 1), _of(rounds, "fastapi", 1))


def against(rounds: Rounds, ours: str, theirs: str, connections: int) -> list[float]:
    """The ratio of requests per second in each round."""
    return by_round(lambda a, b: a.rate / b.rate, _of(rounds, ours, connections), _of(rounds, theirs, connections))


def by_round(ratio: Callable[..., float], *sides: Sequence[object]) -> list[float]:
    """Both sides of one round met the same noise; a side that lacks a round has no ratio."""
    if len({len(side) for side in sides}) != 1:
        return []
    return [ratio(*values) for values in zip(*sides, strict=True)]


def _of(rounds: Rounds, side: str, connections: int) -> Sequence[Load]:
    return rounds.get((side, connections), ())


def _against_faster(rounds: Rounds, ours: str, server: str, connections: int) -> list[float]:
    """Against the faster of the server's two settings, with and without batching."""
    settings = [against(rounds, ours, name, connections) for name in (server, f"{server}-batching")]
    return min(filter(None, settings), key=median, default=[])


def _against_limit(rounds: Rounds, costs: Sequence[Costs], connections: int) -> list[float]:
    return by_round(
        lambda ours, bare, cost: ours.rate / requests_per_second(bare.rate, cost),
        _of(rounds, OURS, connections),
        _of(rounds, "bare", connections),
        costs,
    )


def _batch(rounds: Rounds, costs: Sequence[Costs]) -> list[float]:
    """The better of one connection and two."""
    found = [
        by_round(lambda a, cost: a.rate * BATCH / batch_images_per_second(cost), _of(rounds, "inkling-batch", c), costs)
        for c in BATCH_CONNECTIONS
    ]
    return max(found, key=lambda values: median(values or [0.0]))
