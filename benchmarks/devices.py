"""The devices of one machine, side by side: one worker on a CPU and one on a GPU, with the default network.

Each takes turns at `/predict` and at `/predict/batch` with batches of 64; the other is stopped meanwhile. Images of
28 x 28 pixels come from wrk; the servers may use all cores but the one of wrk.
"""

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks import pictures, runner, servers, wrk
from benchmarks.machine import say
from benchmarks.pictures import Body
from benchmarks.runner import Report
from benchmarks.servers import Server
from benchmarks.tables import spread, table
from benchmarks.wrk import Load

BATCH = 64
CONNECTIONS = (1, 16, 64)
# More than three batches of 64 at a time would exceed INKLING_MAX_CONCURRENT_IMAGES.
BATCH_CONNECTIONS = (1, 3)


@dataclass(frozen=True)
class Call:
    """images: how many one request carries."""

    path: str
    body: Body
    images: int
    connections: int


def measure(options: argparse.Namespace) -> Report:
    wrk.find()
    *server_cores, load_core = sorted(os.sched_getaffinity(0))
    loads: dict[tuple[str, Call], list[Load]] = defaultdict(list)
    found: dict[str, Server] = {}
    with tempfile.TemporaryDirectory(prefix="inkling-devices-") as folder:
        try:
            for device in options.devices:
                settings = {"WORKERS": "1", "DEVICE": device}
                found[device] = servers.inkling(device.replace(":", "-"), Path(folder), settings, set(server_cores))
                found[device].wait_ready().halt()
            for device, call in product(list(found) * options.rounds, calls()):
                server = found[device]
                server.resume()
                url = server.url + call.path
                load = wrk.run(url, call.body, call.connections, options.seconds, {load_core})
                loads[device, call].append(load)
                say(f"{device}, {call.path}, {call.connections} connections: {load.rate * call.images:,.0f} images/s")
                server.ask("/health")  # behind what wrk left unanswered, which the halt must not cut in two
                server.halt()
        finally:
            for server in found.values():
                server.stop()
    return _report(loads)


def calls() -> list[Call]:
    tile = pictures.tile()
    one, many = pictures.multipart(tile), pictures.multipart(*[tile] * BATCH, field="files")
    found = [Call("/predict", one, 1, number) for number in CONNECTIONS]
    return found + [Call("/predict/batch", many, BATCH, number) for number in BATCH_CONNECTIONS]


def _report(loads: Mapping[tuple[str, Call], Sequence[Load]]) -> Report:
    rows, figures = [], []
    for (device, call), found in loads.items():
        rates = [load.rate * call.images for load in found]
        median = spread([load.median * 1e3 for load in found], "{:.2f}")
        rows.append([device, call.path, str(call.connections), spread(rates, "{:,.0f}"), median])
        figures.append({"device": device, "path": call.path, "connections": call.connections, "loads": found})
    return Report(
        [table(["device", "call", "connections", "images per s", "median ms"], rows)], figures={"calls": figures}
    )


if __name__ == "__main__":
    parser = runner.parser("devices", __doc__, rounds=3)
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"], help="(cpu cuda)")
    parser.add_argument("--seconds", type=runner.positive, default=3, help="how long each load lasts (%(default)s)")
    runner.main(parser, measure)
