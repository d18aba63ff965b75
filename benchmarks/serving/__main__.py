"""Inkling against other ways to serve the same network: requests per second, latency and memory, in one run.

Every side has the released `net` unless its name says otherwise, the same PNG of 28 x 28 pixels, one worker and one
core of its own; wrk has another core. Sides take turns (A B C A B C), and all others are stopped meanwhile. Each side
must answer the digit correctly before it is timed, and one failed request fails the run. Inkling has its default
settings, logs and metrics included.

Other servers run in environments of their own, made once under build/benchmarks/. LitServe, BentoML and MLServer are
measured with and without batching, and Inkling is compared with the faster of the two. The sides named "default
network" serve the released convnet: Inkling, MLServer, and FastAPI over ONNX Runtime compute the same `model.onnx`.

--other FOLDER adds the side `inkling-other`, another checkout of Inkling such as a git worktree of an earlier commit.

The steps of an answer are timed in every round, too, on the servers' core: with the bare server they make the ceiling.
Ratios are those of one round, and the tables show their median.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import httpx

from benchmarks import runner, wrk
from benchmarks.machine import BenchmarkError, cores, say
from benchmarks.pictures import DIGIT
from benchmarks.runner import Report
from benchmarks.servers import Server, digit_of
from benchmarks.serving import limit, report
from benchmarks.serving.report import Measured
from benchmarks.serving.sides import OTHER, Side, all_sides
from benchmarks.serving.targets import ratios
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
        self.found = Measured()
        self.failed = False

    def start(self) -> None:
        """Starts every server and checks its answer. Raises BenchmarkError."""
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
                self.found.missing[side.name] = "not served"
                say(f"{name} does not serve {side.path}")
            elif answer.status_code != 200 or digit_of(answer) != DIGIT:
                raise BenchmarkError(f"{name} answers {answer.status_code} to a {DIGIT}: {answer.text[:300]}")

    def round(self, number: int, rounds: int) -> None:
        for side in self.sides:
            server = self.servers[side.contender.name]
            server.resume()
            for connections in side.connections if side.name not in self.found.missing else ():
                try:
                    load = self._load(side, connections, warm_up=number == 1)
                except LoadFailed as error:
                    self.failed = True
                    self.found.missing[side.name] = f"failed: {error}"
                    say(f"error: {side.name}, {connections} connections: {error}")
                    break
                self.found.loads[side.name, connections].append(load)
                say(f"round {number} of {rounds}: {side.name}, {connections} connections: {load.rate:,.0f} requests/s")
            self.found.memory[side.contender.name] = sum(server.memory())
            with contextlib.suppress(httpx.TransportError):
                server.ask(side.path, side.body)  # behind what wrk left unanswered, which the halt must not cut in two
            server.halt()
        self.found.costs.append(limit.measure(self.server_core))

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def _load(self, side: Side, connections: int, warm_up: bool) -> Load:
        server = self.servers[side.contender.name]
        url, cores = server.url + side.path, {self.load_core}
        if warm_up:
            wrk.run(url, side.body, connections, WARM_UP_SECONDS, cores)
        before = server.cpu_seconds()
        load = wrk.run(url, side.body, connections, self.seconds, cores)
        self.found.shares[side.name, connections].append((server.cpu_seconds() - before) / self.seconds)
        return load


def measure(options: argparse.Namespace) -> Report:
    sides = all_sides(options.other.resolve() if options.other else None)
    if options.only:
        sides = [side for side in sides if side.name in options.only]
    wrk.find()
    with tempfile.TemporaryDirectory(prefix="inkling-serving-") as folder:
        run = Run(sides, Path(folder), options.seconds)
        try:
            run.start()
            for number in range(1, options.rounds + 1):
                run.round(number, options.rounds)
        finally:
            run.stop()
    found = run.found
    heading = (
        f"Medians of {options.rounds} rounds of {options.seconds} s, with the smallest and the largest in brackets."
    )
    settings = dict.fromkeys(f"- {side.contender.name}: {side.contender.settings}" for side in sides)
    blocks = [heading, report.sides_table(sides, found), "\n".join(settings), report.ceiling_table(found)]
    targets = [target for target in ratios(found.loads, found.costs) if target.values or not options.only]
    return Report([*blocks, *_warning(found)], targets, _figures(found), run.failed)


def _warning(found: Measured) -> list[str]:
    busy = [share for (_, connections), shares in found.shares.items() if connections == 64 for share in shares]
    if not busy or min(busy) >= BUSY:
        return []
    return [
        f"The servers had {min(busy):.0%} to {max(busy):.0%} of their core at 64 connections, so other programs use "
        "this machine: compare requests per CPU second and ratios, and no others."
    ]


def _figures(found: Measured) -> dict[str, object]:
    sides = [
        {"side": side, "connections": connections, "rounds": loads, "shares": found.shares[side, connections]}
        for (side, connections), loads in found.loads.items()
    ]
    return {"sides": sides, "steps": found.costs, "memory": found.memory, "missing": found.missing}


def main() -> None:
    names = [side.name for side in all_sides(Path())]
    parser = runner.parser("serving", __doc__, rounds=3, parts=names)
    parser.add_argument("--seconds", type=runner.positive, default=2, help="how long each load lasts (%(default)s)")
    parser.add_argument("--other", type=Path, metavar="FOLDER", help=f"another checkout, measured as {OTHER}")
    runner.main(parser, measure)


if __name__ == "__main__":
    main()
