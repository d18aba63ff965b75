"""The tables of the sides and of the steps."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.serving.sides import CONNECTIONS, Side
from benchmarks.serving.steps import SINGLE, limit
from benchmarks.serving.targets import Rounds
from benchmarks.tables import spread, table


def sides_table(
    sides: Iterable[Side],
    rounds: Rounds,
    shares: Mapping[tuple[str, int], Sequence[float]],
    memory: Mapping[str, int],
    missing: Mapping[str, str],
) -> str:
    """Requests a CPU second hardly depend on what else the machine does; those a second do."""
    rows = []
    for side in sides:
        if side.name in missing:
            rows.append([side.contender.name, side.request, "", missing[side.name], "", "", "", ""])
        for connections in side.connections if side.name not in missing else ():
            loads = rounds[side.name, connections]
            of_cpu = [
                load.rate / share
                for load, share in zip(loads, shares[side.name, connections], strict=True)
                if share > 0
            ]
            rows.append(
                [
                    side.contender.name,
                    side.request,
                    str(connections),
                    spread([load.rate for load in loads], "{:,.0f}"),
                    f"{median(of_cpu):,.0f}" if of_cpu else "",
                    f"{median(load.median for load in loads) * 1e3:.2f}",
                    f"{median(load.p99 for load in loads) * 1e3:.1f}",
                    f"{memory[side.contender.name] / 1e6:,.0f}",
                ]
            )
    return table(
        ["server", "request", "connections", "requests/s", "a CPU second", "median ms", "p99 ms", "memory MB"], rows
    )


def steps_table(steps: Sequence[Mapping[str, float]], rounds: Rounds) -> str:
    rows = [[name, spread([step[name] * 1e6 for step in steps], "{:.1f}")] for name in SINGLE]
    for connections in CONNECTIONS:
        bare = rounds.get(("bare", connections), ())
        if bare:
            name = f"bare ASGI server, {connections} connection{'s' if connections > 1 else ''}"
            rows.append([name, spread([1e6 / load.rate for load in bare], "{:.1f}")])
            limits = [limit(load.rate, step) for load, step in zip(bare, steps, strict=True)]
            rows.append(["the limit with it, requests/s", spread(limits, "{:,.0f}")])
    return table(["step", "us a picture"], rows)
