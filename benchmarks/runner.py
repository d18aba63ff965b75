"""What all benchmarks share: their options, the report, the JSON file and the exit status.

Exit status 0: everything was measured. 1: a load failed or a bound was missed. 2: the benchmark could not run.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from benchmarks.machine import BenchmarkError, describe
from benchmarks.tables import Target, targets_table
from models.errors import InklingError


@dataclasses.dataclass
class Report:
    """What a benchmark measured.

    blocks: Markdown tables and notes, in the order of printing; figures: raw values in SI units, for --json.
    """

    blocks: list[str] = dataclasses.field(default_factory=list)
    targets: list[Target] = dataclasses.field(default_factory=list)
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    failed: bool = False


def parser(
    name: str, doc: str | None, rounds: int | None = None, parts: Collection[str] = (), data: bool = False
) -> argparse.ArgumentParser:
    """The options that benchmarks have in common.

    rounds: the default of --rounds, None if nothing is repeated; parts: what --only chooses from; data: whether the
    benchmark reads data sets.
    """
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(f"python -m benchmarks.{name}", description=doc, formatter_class=raw)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write every figure to this file")
    if rounds:
        made.add_argument("--rounds", type=positive, default=rounds, help="how often to measure (%(default)s)")
    if parts:
        made.add_argument("--only", nargs="+", choices=parts, metavar="NAME", help=f"measure only: {', '.join(parts)}")
    if data:
        folder = Path(os.environ.get("INKLING_DATA", "data"))
        made.add_argument("--data", type=Path, default=folder, help="the folder that holds MNIST/raw (%(default)s)")
    return made


def positive(text: str) -> int:
    """An integer from 1, as an argument type."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, not {number}")
    return number


def main(parser: argparse.ArgumentParser, measure: Callable[[argparse.Namespace], Report]) -> None:
    """Measures, prints the report and exits. SIGTERM unwinds the stack, so that servers are stopped."""
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        report = measure(options)
    except (BenchmarkError, InklingError) as error:
        parser.exit(2, f"error: {error}\n")
    targets = [targets_table(report.targets)] if report.targets else []
    print(*[describe(), *report.blocks, *targets], sep="\n\n")
    if options.json:
        found = [dataclasses.asdict(target) | {"met": target.met} for target in report.targets]
        content = {"machine": describe(), **report.figures, "targets": found}
        options.json.write_text(json.dumps(content, indent=1, default=dataclasses.asdict))
    sys.exit(1 if report.failed else 0)
