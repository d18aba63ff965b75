"""The tables, in Markdown, so that they can go into a page as they are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from benchmarks.serving.sides import CONNECTIONS, Side
from benchmarks.serving.steps import SINGLE, limit
from benchmarks.serving.targets import Ratio, Rounds


def sides_table(sides: Iterable[Side], rounds: Rounds, memory: Mapping[str, int], missing: Mapping[str, str]) -> str:
    rows = []
    for side in sides:
        if side.name in missing:
            rows.append([side.contender.name, side.request, "", missing[side.name], "", "", ""])
        for connections in side.connections if side.name not in missing else ():
            loads = rounds[side.name, connections]
            rows.append(
                [
                    side.contender.name,
                    side.request,
                    str(connections),
                    _spread([load.rate for load in loads], "{:,.0f}"),
                    _spread([load.median * 1e3 for load in loads], "{:.2f}"),
                    _spread([load.p99 * 1e3 for load in loads], "{:.1f}"),
                    f"{memory[side.contender.name] / 1e6:,.0f}",
                ]
            )
    return table(["server", "request", "connections", "requests/s", "median ms", "p99 ms", "memory MB"], rows)


def steps_table(steps: Sequence[Mapping[str, float]], rounds: Rounds) -> str:
    rows = [[name, _spread([step[name] * 1e6 for step in steps], "{:.1f}")] for name in SINGLE]
    for connections in CONNECTIONS:
        bare = rounds.get(("bare", connections), ())
        if bare:
            name = f"bare ASGI server, {connections} connection{'s' if connections > 1 else ''}"
            rows.append([name, _spread([1e6 / load.rate for load in bare], "{:.1f}")])
            limits = [limit(load.rate, step) for load, step in zip(bare, steps, strict=True)]
            rows.append(["the limit with it, requests/s", _spread(limits, "{:,.0f}")])
    return table(["step", "us a picture"], rows)


def ratios_table(ratios: Iterable[Ratio]) -> str:
    rows = []
    for ratio in ratios:
        sign = "at most " if ratio.at_most else ""
        measured = _spread(ratio.values, "{:.2f}") if ratio.values else ""
        rows.append([ratio.name, f"{sign}{ratio.target:g}", f"{ratio.stretch:g}", measured, ratio.met])
    return table(["ratio", "target", "stretch", "measured", "met"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that is aligned for the terminal too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(header), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


def _spread(values: Sequence[float], form: str) -> str:
    """The median, and in brackets the smallest and the largest of the rounds."""
    show: Callable[[float], str] = form.format
    if len(values) == 1:
        return show(values[0])
    return f"{show(median(values))} ({show(min(values))} to {show(max(values))})"
