"""Memory of a service by its number of workers, and of its trainer.

Memory is the proportional set size (PSS), which divides a shared page among the processes that share it. It is read
after images of two sizes were answered on 8 connections; the trainer's is the peak of a job of one epoch.
"""

import argparse
import sys
import time

import uvloop

from benchmarks import client, pictures, runner
from benchmarks.learning.service import ENDED, new_folder, newest_job, serve, trainers, wait
from benchmarks.machine import BenchmarkError, say
from benchmarks.runner import Report
from benchmarks.servers import READY_SECONDS, Server, memory_of
from benchmarks.tables import Target, table

REQUESTS, CONNECTIONS = 2000, 8


def measure(options: argparse.Namespace) -> Report:
    if sys.platform != "linux":
        raise BenchmarkError("the proportional set size needs Linux")
    rows = []
    for workers in options.workers:
        with new_folder() as folder, serve(folder, options.data, WORKERS=str(workers)) as server:
            _load(server, workers)
            sizes = sorted(server.memory("pss"), reverse=True)
            server.client.post("/retrain", json={"epochs": 1}).raise_for_status()
            trainer = 0
            while newest_job(server)["state"] not in ENDED:
                trainer = max([trainer, *(memory_of(process, "pss") for process in trainers(folder))])
                time.sleep(0.1)
        rows.append([workers, sum(sizes[:workers]) / workers, sum(sizes[workers:]), sum(sizes), trainer])
        say(f"{workers} workers: {rows[-1]} bytes")
    names = ["workers", "each worker", "supervisor", "all", "trainer, peak"]
    header = [names[0], *(f"{name}, MB" for name in names[1:])]
    shown = [[str(row[0]), *(f"{size / 1e6:,.0f}" for size in row[1:])] for row in rows]
    figures = {"bytes": [dict(zip(names, row, strict=True)) for row in rows]}
    return Report([table(header, shown)], _targets({row[0]: row[3] for row in rows}), figures)


def _targets(sizes: dict[int, float]) -> list[Target]:
    """sizes: the bytes of all processes of a service, by its number of workers."""
    one = [sizes[1] / 1e6] if 1 in sizes else []
    least, most = min(sizes), max(sizes)
    further = [(sizes[most] - sizes[least]) / (most - least) / 1e6] if most > least else []
    return [
        Target("a service of one worker, MB", 200, 160, one, True, "{:.0f}"),
        Target("each further worker, MB", 100, 70, further, True, "{:.0f}"),
    ]


def _load(server: Server, workers: int) -> None:
    """Until every worker runs and has answered images of both sizes."""
    wait(lambda: len(server.members()) > workers, READY_SECONDS)
    both = (pictures.tile(), pictures.SEVEN.read_bytes())
    requests = [client.post("/predict", pictures.multipart(picture)) for picture in both]
    answers = uvloop.run(client.closed(server.port, requests, CONNECTIONS, lambda count: count < REQUESTS))
    failed = [answer for answer in answers if answer.status != 200]
    if failed:
        raise BenchmarkError(f"{len(failed)} of {len(answers)} requests failed, the first with {failed[0].status}")


if __name__ == "__main__":
    parser = runner.parser("sizing", __doc__, data=True)
    parser.add_argument("--workers", type=runner.positive, nargs="+", default=[1, 2, 4], help="(1 2 4)")
    runner.main(parser, measure)
