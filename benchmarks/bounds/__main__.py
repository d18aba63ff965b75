"""What Inkling stays within: start, memory, probes, overload, shutdown and model swaps, each measured on this machine.

    python -m benchmarks.bounds [--seconds N] [--rounds N] [--requests N] [--only NAME ...] [--json FILE]

Inkling runs at its shipped defaults with one worker, alone on one core, and the load comes from another; only `workers`
lets the servers and the load generator share both. It ends with 1 when something is over its bound.
"""

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import h2load, wrk
from benchmarks.arguments import positive
from benchmarks.bounds import cost, load
from benchmarks.bounds.setting import Setting
from benchmarks.machine import BenchmarkError, cores, describe, end_in_order, say
from benchmarks.tables import Target, spread, targets_table
from benchmarks.wrk import LoadFailed

LINES = {
    "start": cost.start,
    "memory": cost.memory,
    "workers": cost.workers,
    "probes": load.probes,
    "overload": load.overload,
    "shutdown": load.shutdown,
    "swap": load.swap,
    "growth": cost.growth,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.bounds", description="What Inkling stays within.")
    parser.add_argument("--seconds", type=positive, default=5, help="how long each load lasts (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="how often sides take turns (%(default)s)")
    parser.add_argument("--requests", type=positive, default=50_000, help="of the memory's growth (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=list(LINES), metavar="NAME", help=f"of {', '.join(LINES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    if options.seconds < 2 or options.rounds < 1 or options.requests < 1000:
        parser.error("--seconds starts at 2, --rounds at 1, --requests at 1000")
    end_in_order()
    try:
        wrk.find()
        h2load.find()
        targets, failed = measured(options)
    except BenchmarkError as error:
        parser.exit(2, f"error: {error}\n")
    print(describe())
    print()
    print(targets_table(targets))
    if options.json:
        figures = [dataclasses.asdict(target) | {"met": target.met} for target in targets]
        options.json.write_text(json.dumps({"machine": describe(), "targets": figures}, indent=1))
    sys.exit(1 if failed or any(target.met == "no" for target in targets) else 0)


def measured(options: argparse.Namespace) -> tuple[list[Target], bool]:
    """The targets, and whether a line could not be measured: the others go on."""
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    targets: list[Target] = []
    failed = False
    for name in options.only or LINES:
        with tempfile.TemporaryDirectory(prefix="inkling-bounds-") as folder:
            setting = Setting(Path(folder), server_core, load_core, options.seconds, options.rounds, options.requests)
            try:
                found = LINES[name](setting)
            except (BenchmarkError, LoadFailed) as error:
                failed = True
                say(f"error: {name}: {error}")
                continue
        for target in found:
            say(f"{target.name}: {spread(target.values, target.form) if target.values else ''} {target.note}")
        targets += found
    return targets, failed


if __name__ == "__main__":
    main()
