"""What Inkling stays within: start, growth, probes, overload, images, connections, shutdown, swaps, command line.

Inkling runs with default settings and one worker on one core, and the load comes from another core; in `workers` alone
the servers and the load generator share both. The exit status is 1 if a bound is missed.
"""

import argparse
import os
import tempfile
from pathlib import Path

from benchmarks import runner, wrk
from benchmarks.bounds import connections, cost, decoding, load, storage
from benchmarks.bounds.setting import Setting
from benchmarks.machine import BenchmarkError, cores, say
from benchmarks.runner import Report
from benchmarks.tables import spread
from benchmarks.wrk import LoadFailed

BOUNDS = {
    "start": cost.start,
    "shell": cost.shell,
    "workers": cost.workers,
    "probes": load.probes,
    "overload": load.overload,
    "decoding": decoding.decoding,
    "shutdown": load.shutdown,
    "swap": load.swap,
    "growth": cost.growth,
    "locked": storage.locked,
    "workerless": storage.workerless,
    "streams": storage.streams,
    "trailers": connections.trailers,
    "pipelining": connections.pipelining,
    "bodies": connections.bodies,
    "heads": connections.heads,
    "endurance": connections.endurance,
}


def measure(options: argparse.Namespace) -> Report:
    """A bound that cannot be measured fails the run; the others go on."""
    wrk.find()
    server_core, load_core = cores()
    os.sched_setaffinity(0, {load_core})
    report = Report()
    for name in options.only or BOUNDS:
        with tempfile.TemporaryDirectory(prefix="inkling-bounds-") as folder:
            numbers = options.seconds, options.rounds, options.requests, options.minutes
            setting = Setting(Path(folder), server_core, load_core, *numbers, options.data)
            try:
                found = BOUNDS[name](setting)
            except (BenchmarkError, LoadFailed) as error:
                report.failed = True
                say(f"error: {name}: {error}")
                continue
        for target in found:
            say(f"{target.name}: {spread(target.values, target.form) if target.values else ''} {target.note}")
        report.targets += found
    report.failed |= any(target.met == "no" for target in report.targets)
    return report


def main() -> None:
    parser = runner.parser("bounds", __doc__, rounds=3, parts=BOUNDS, data=True)
    parser.add_argument("--seconds", type=runner.positive, default=5, help="how long each load lasts (%(default)s)")
    parser.add_argument("--requests", type=runner.positive, default=50_000, help="sent by `growth` (%(default)s)")
    parser.add_argument("--minutes", type=runner.positive, default=2, help="`endurance` lasts (%(default)s)")
    runner.main(parser, measure)


if __name__ == "__main__":
    main()
