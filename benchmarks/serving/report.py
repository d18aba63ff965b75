"""The tables of the sides and of the steps."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from benchmarks.serving.limit import STEPS, Costs, requests_per_second
from benchmarks.serving.sides import CONNECTIONS, Side
from benchmarks.tables import spread, table
from benchmarks.wrk import Load


@dataclass(frozen=True)
class Measured:
    """loads, shares: by side and connections, one for each round; shares: the part of its core that the server used.

    costs: of each round; memory: the resident bytes of each server; missing: why a side has no figures.
    """

    loads: dict[tuple[str, int], list[Load]] = field(default_factory=lambda: defaultdict(list))
    shares: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    costs: list[Costs] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def sides_table(sides: Iterable[Side], found: Measured) -> str:
    """Requests per CPU second depend little on other work on the machine, requests per second very much."""
    rows = []
    for side in sides:
        if side.name in found.missing:
            rows.append([side.contender.name, side.request, "", found.missing[side.name], "", "", "", ""])
        for connections in side.connections if side.name not in found.missing else ():
            loads, shares = found.loads[side.name, connections], found.shares[side.name, connections]
            per_cpu = [load.rate / share for load, share in zip(loads, shares, strict=True) if share > 0]
            rows.append(
                [
                    side.contender.name,
                    side.request,
                    str(connections),
                    spread([load.rate for load in loads], "{:,.0f}"),
                    f"{median(per_cpu):,.0f}" if per_cpu else "",
                    f"{median(load.median for load in loads) * 1e3:.2f}",
                    f"{median(load.p99 for load in loads) * 1e3:.1f}",
                    f"{found.memory[side.contender.name] / 1e6:,.0f}",
                ]
            )
    units = ["requests per s", "requests per CPU s", "median ms", "p99 ms", "memory MB"]
    return table(["server", "request", "connections", *units], rows)


def ceiling_table(found: Measured) -> str:
    rows = [[name, spread([cost[name] * 1e6 for cost in found.costs], "{:.1f} us")] for name in STEPS]
    for connections in CONNECTIONS:
        bare = found.loads.get(("bare", connections), ())
        if bare:
            rows.append(
                [f"bare server, {connections} connections", spread([1e6 / load.rate for load in bare], "{:.1f} us")]
            )
            limits = [requests_per_second(load.rate, cost) for load, cost in zip(bare, found.costs, strict=True)]
            rows.append([f"the ceiling, {connections} connections", spread(limits, "{:,.0f} requests per s")])
    return table(["step", "wall time per image, or rate"], rows)
