"""How much memory a service takes, by its number of workers, and while it retrains.

Memory is the proportional set size (PSS) of all its processes: what several share is counted once. Measured after
pictures of two sizes were answered on 8 connections.

    python -m benchmarks.sizing [--data FOLDER]
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import pictures
from benchmarks.arguments import positive
from benchmarks.learning.service import ENDED, START_SECONDS, Service, new_home, trainers, wait
from benchmarks.machine import describe, end_in_order, say
from benchmarks.tables import table

REQUESTS, CONNECTIONS = 2000, 8


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizing", description="How much memory a service takes.")
    data = Path(os.environ.get("INKLING_DATA", "data"))
    parser.add_argument("--data", type=Path, default=data, help="holds MNIST/raw")
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2, 4], help="(1 2 4)")
    options = parser.parse_args()
    if not (options.data / "MNIST/raw").is_dir():
        parser.error(f"MNIST is not in {options.data}; --data names the folder that holds MNIST/raw")
    if min(options.workers) < 1:
        parser.error("--workers starts at 1")
    if sys.platform != "linux":
        parser.error("the memory that processes share is only told by Linux")
    end_in_order()
    rows = [_row(workers, options.data.absolute()) for workers in options.workers]
    print(describe())
    print()
    print(table(["workers", "each, MB", "what starts them, MB", "all, MB", "the trainer at most, MB"], rows))


def _row(workers: int, data: Path) -> list[str]:
    with new_home() as home:
        service = Service(home, data, INKLING_WORKERS=str(workers))
        try:
            _ask(service, workers)
            sizes = sorted((pss(pid) for pid in members(service.process.pid)), reverse=True)
            most = _trainer(service)
        finally:
            service.stop()
    figures = [str(workers), sum(sizes[:workers]) / workers, sum(sizes[workers:]), sum(sizes), most]
    row = [figure if isinstance(figure, str) else f"{figure / 1e6:,.0f}" for figure in figures]
    say(", ".join(row))
    return row


def _ask(service: Service, workers: int) -> None:
    """Until every worker has loaded its model and answered pictures of both kinds."""
    wait(lambda: len(members(service.process.pid)) > workers, START_SECONDS)
    bodies = [pictures.multipart(picture) for picture in (pictures.tile(), pictures.SEVEN.read_bytes())]

    def ask(number: int) -> None:
        body = bodies[number % len(bodies)]
        answer = service.client.post("/predict", content=body.data, headers={"Content-Type": body.content_type})
        answer.raise_for_status()

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(ask, range(REQUESTS)):
            pass


def _trainer(service: Service) -> int:
    """The most that was seen of the trainer's memory, in a job of one epoch."""
    service.client.post("/retrain", json={"epochs": 1}).raise_for_status()
    most = 0
    while service.job()["state"] not in ENDED:
        most = max([most, *map(pss, trainers(service.home))])
        time.sleep(0.1)
    return most


def members(session: int) -> list[int]:
    listed = subprocess.run(["ps", "-s", str(session), "-o", "pid="], capture_output=True, text=True, check=True)
    return [int(pid) for pid in listed.stdout.split()]


def pss(pid: int) -> int:
    """Bytes; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
