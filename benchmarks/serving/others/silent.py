"""Inkling as it would be without logs and metrics: `python -m benchmarks.serving.others.silent PORT`, by its settings.

One worker of the shipped code, but for the two places that write down what happens.
"""

import gc
import socket
import sys

import torch

from app.main import create_app
from app.observability.access_log import AccessLog
from app.observability.metrics import Metrics
from app.processes.worker import Server
from app.settings import Settings


class NoMetrics(Metrics):
    def __init__(self) -> None:
        super().__init__(None, ())
        self.decoded = lambda seconds: None

    def prediction(self, found: object) -> None:
        pass

    def batch(self, waits: object, seconds: float) -> None:
        pass


class NoAccess(AccessLog):
    def end(self, scope: object, ids: object, status: int, started: float) -> None:
        pass


def main() -> None:
    torch.set_num_threads(1)
    settings = Settings()
    app = create_app(settings)
    app.access_log = app.fast_predict.access_log = NoAccess(app.state.inference.metrics, None)
    app.state.inference.metrics = NoMetrics()
    app.state.inference.open()
    gc.collect()
    gc.freeze()  # as a worker does
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048) as listening:
        Server(app, settings).run(sockets=[listening])


if __name__ == "__main__":
    main()
