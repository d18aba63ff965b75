"""Markdown tables, and targets with their measured values."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Target:
    """A bound on a measured figure.

    name: what is measured, with its unit; target, stretch: the bound and a better one; values: one for each round,
    empty if nothing was measured. The median decides.
    """

    name: str
    target: float
    stretch: float | None
    values: Sequence[float]
    at_most: bool = False
    form: str = "{:.2f}"
    note: str = ""

    @property
    def met(self) -> str:
        if not self.values:
            return "not measured"
        for name, bound in (("stretch", self.stretch), ("yes", self.target)):
            if bound is not None and self._keeps(median(self.values), bound):
                return name
        return "no"

    def _keeps(self, value: float, bound: float) -> bool:
        return value <= bound if self.at_most else value >= bound


def targets_table(targets: Iterable[Target]) -> str:
    rows = []
    for target in targets:
        bounds = [target.target] if target.stretch is None else [target.target, target.stretch]
        sign = "at most" if target.at_most else "at least"
        measured = spread(target.values, target.form) if target.values else ""
        rows.append([target.name, f"{sign} {', '.join(f'{bound:g}' for bound in bounds)}", measured, target.met])
        if target.note:
            rows[-1][2] += f"; {target.note}"
    return table(["what", "target, stretch", "measured", "met"], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are padded to one width, so that it is readable in a terminal."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([line(header), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


def spread(values: Sequence[float], form: str) -> str:
    """The median, with the smallest and the largest value in brackets."""
    low, middle, high = (form.format(value) for value in (min(values), median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
