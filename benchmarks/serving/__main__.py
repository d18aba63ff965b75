"""Inkling against other ways to serve the same network: requests a second, latency and memory, in one run.

    python -m benchmarks.serving [--seconds N] [--rounds N] [--only NAME ...] [--json FILE]

Every side has the released `net`, the same PNG tile, one worker and one core for itself; wrk has another core. Sides
take turns, A B C A B C, and all but one are halted. Each answers the tile once, rightly, before it is timed, and an
answer during the run that is no success fails the command. Inkling runs at its shipped defaults, logs and metrics
included. LitServe and BentoML, each with and without its batching, run in an environment that is made once under
build/benchmarks/ and sees this one's torch; Inkling is held against the faster of the two.

The single steps of an answer are timed in every round too, on the servers' core: they make the limit that Inkling is
held against. A ratio is that of one round, and the table has their median.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks import wrk
from benchmarks.arguments import positive
from benchmarks.machine import ROOT, BenchmarkError, cores, describe, end_in_order, say
from benchmarks.pictures import DIGIT
from benchmarks.servers import Server, digit_of
from benchmarks.serving import report
from benchmarks.serving.sides import Side, all_sides
from benchmarks.serving.targets import ratios
from benchmarks.tables import targets_table
from benchmarks.wrk import Load, LoadFailed

WARM_UP_SECONDS = 1
BUSY = 0.9


class Run:
    """The servers of one run, and what was measured of them."""

    def __init__(self, sides: list[Side], folder: Path, seconds: int) -> None:
        self.sides = sides
        self.folder = folder
        self.seconds = seconds
        self.server_core, self.load_core = cores()
        self.servers: dict[str, Server] = {}
        self.scripts = {side.name: wrk.script(folder, side.name, side.body) for side in sides}
        self.rounds: dict[tuple[str, int], list[Load]] = defaultdict(list)
        self.steps: list[dict[str, float]] = []
        self.memory: dict[str, int] = {}
        self.shares: dict[tuple[str, int], list[float]] = defaultdict(list)
        """Of its core, what a server used in each round."""
        self.missing: dict[str, str] = {}
        """Why a side has no figures."""
        self.failed = False

    def start(self) -> None:
        """Starts every server and checks its answer to the tile. Raises BenchmarkError."""
        for side in self.sides:
            name = side.contender.name
            if name not in self.servers:
                say(f"starting {name} ({side.contender.settings})")
                self.servers[name] = side.contender.start(self.folder, self.server_core)
            server = self.servers[name]
            server.resume()
            answer = server.first_answer(side.path, side.body)
            server.halt()
            if answer.status_code == 404:
                self.missing[side.name] = "not served"
                say(f"{name} does not serve {side.path}")
            elif answer.status_code != 200 or digit_of(answer) != DIGIT:
                raise BenchmarkError(f"{name} answers {answer.status_code} to a {DIGIT}: {answer.text[:300]}")

    def round(self, number: int, rounds: int) -> None:
        for side in self.sides:
            server = self.servers[side.contender.name]
            server.resume()
            for connections in side.connections if side.name not in self.missing else ():
                try:
                    load = self._load(side, connections, warm_up=number == 1)
                except LoadFailed as error:
                    self.failed = True
                    self.missing[side.name] = f"failed: {error}"
                    say(f"error: {side.name}, {connections} connections: {error}")
                    break
                self.rounds[side.name, connections].append(load)
                plural = "s" if connections > 1 else ""
                say(f"round {number} of {rounds}: {side.name}, {connections} connection{plural}: {load.rate:,.0f}/s")
            self.memory[side.contender.name] = sum(server.memory().values())
            server.ask(side.path, side.body)  # wrk leaves requests behind: none is cut in two by the halt
            server.halt()
        self.steps.append(self._steps())

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def _load(self, side: Side, connections: int, warm_up: bool) -> Load:
        server, script = self.servers[side.contender.name], self.scripts[side.name]
        if warm_up:
            wrk.run(server.url + side.path, script, connections, WARM_UP_SECONDS, {self.load_core})
        before = server.cpu_seconds()
        load = wrk.run(server.url + side.path, script, connections, self.seconds, {self.load_core})
        self.shares[side.name, connections].append((server.cpu_seconds() - before) / self.seconds)
        return load

    def _steps(self) -> dict[str, float]:
        """Timed in a process of its own on the core that the servers had."""
        command = ["taskset", "-c", str(self.server_core), sys.executable, "-m", "benchmarks.serving.steps"]
        found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if found.returncode != 0:
            raise BenchmarkError(f"the steps could not be timed:\n{found.stderr.strip()}")
        steps: dict[str, float] = json.loads(found.stdout)
        return steps


def main() -> None:
    sides = all_sides()
    names = [side.name for side in sides]
    parser = argparse.ArgumentParser(prog="benchmarks.serving", description="Inkling against other ways to serve.")
    parser.add_argument("--seconds", type=positive, default=2, help="how long each load lasts (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=3, help="how often each side is timed (%(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    options = parser.parse_args()
    if min(options.seconds, options.rounds) < 1:
        parser.error("--seconds and --rounds start at 1")
    end_in_order()
    try:
        wrk.find()
        run = measured([s for s in sides if s.name in (options.only or names)], options.seconds, options.rounds)
    except BenchmarkError as error:
        parser.exit(2, f"error: {error}\n")
    show(run, options.seconds, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(figures(run), indent=1))
    sys.exit(1 if run.failed else 0)


def measured(sides: list[Side], seconds: int, rounds: int) -> Run:
    with tempfile.TemporaryDirectory(prefix="inkling-serving-") as folder:
        run = Run(sides, Path(folder), seconds)
        try:
            run.start()
            for number in range(1, rounds + 1):
                run.round(number, rounds)
        finally:
            run.stop()
    return run


def show(run: Run, seconds: int, rounds: int) -> None:
    print(describe())
    print(f"medians of {rounds} rounds of {seconds} s each, in brackets the smallest and the largest\n")
    print(report.sides_table(run.sides, run.rounds, run.shares, run.memory, run.missing))
    print()
    for contender in dict.fromkeys(side.contender for side in run.sides):
        print(f"- {contender.name}: {contender.settings}")
    print()
    print(report.steps_table(run.steps, run.rounds))
    print()
    print(targets_table(ratios(run.rounds, run.steps)))
    busy = [share for (_, connections), shares in run.shares.items() if connections == 64 for share in shares]
    if busy and min(busy) < BUSY:
        print(
            f"\nServers had {min(busy):.0%} to {max(busy):.0%} of their core at 64 connections: others use this "
            "machine. Compare requests a CPU second, and take the rest for its shape alone."
        )


def figures(run: Run) -> dict[str, object]:
    """Everything that was measured, in seconds, bytes and requests a second."""
    sides = [
        {
            "side": side,
            "connections": connections,
            "rounds": [dataclasses.asdict(load) for load in loads],
            "shares": run.shares[side, connections],
        }
        for (side, connections), loads in run.rounds.items()
    ]
    return {
        "machine": describe(),
        "sides": sides,
        "steps": run.steps,
        "memory": run.memory,
        "missing": run.missing,
        "ratios": [dataclasses.asdict(ratio) | {"met": ratio.met} for ratio in ratios(run.rounds, run.steps)],
    }


if __name__ == "__main__":
    main()
