"""One worker of Inkling without a part that the shipped one has, to measure what that part costs or gains.

    python -m benchmarks.serving.others.variant PORT silent|no-fast-path

`silent` writes neither logs nor metrics; `no-fast-path` hands every request to FastAPI. Settings are the usual ones.
"""

import gc
import socket
import sys

from app.http.fast_predict import FastPredict
from app.main import Inkling, create_app
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


def silence(app: Inkling) -> None:
    app.access_log = NoAccess(app.state.inference.metrics, None)
    app.state.inference.metrics = NoMetrics()
    app.fast_predict = FastPredict(app.state.inference, app.access_log, app.hosts)


def without_fast_path(app: Inkling) -> None:
    app.fast_predict = None


VARIANTS = {"silent": silence, "no-fast-path": without_fast_path}


def main() -> None:
    settings = Settings()
    app = create_app(settings)
    VARIANTS[sys.argv[2]](app)
    app.state.inference.open()
    gc.collect()
    gc.freeze()  # a worker does the same
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=2048) as listening:
        Server(app, settings).run(sockets=[listening])


if __name__ == "__main__":
    main()
