"""One worker process: loads the model, then answers HTTP on the sockets that all workers share."""

import asyncio
import contextlib
import gc
import logging
import math
import multiprocessing
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import cast

import uvicorn

from app.api.keys import Keys
from app.http.protocol import Protocol
from app.main import Inkling, create_app
from app.observability import logs
from app.observability.multiprocess import MultiprocessStore
from app.processes.messages import DRAIN_SECONDS, KILL_SECONDS, Failed, Ready
from app.settings import Settings
from models import devices
from models.errors import InklingError
from models.inference.predictor import Predictor

_ACCEPT_PAUSE = 1
_CONNECTIONS_PER_ACCEPT = 16
_RESERVED_FILES = 96
"""How many of the files that a worker may open its connections leave to all else: a request without one would fail."""
_LOG_SECONDS = 60
_TICKS_PER_CHECK = 10
"""uvicorn calls `on_tick` ten times a second."""

log = logging.getLogger(__name__)


def run(
    settings: Settings,
    sockets: list[socket.socket],
    reports: Connection,
    store: MultiprocessStore | None = None,
    keys: Keys | None = None,
    served: str | None = None,
) -> None:
    """Serves until SIGTERM or the supervisor's end. Reports Ready, or else Failed and ends with status 2.

    served: the version that the service has served so far; None at its start.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the supervisor passes it on
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    _raise_file_limit()
    log_handler = logs.set_up()
    # For torch, if a version needs it: a small forward pass gains nothing from threads, and those of workers compete.
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        workers = settings.worker_count(devices.resolve(settings.device))
        app = create_app(settings, log_handler, store, workers, keys)
        app.state.inference.open(served)
    except InklingError as error:
        reports.send(Failed(str(error)))
        sys.exit(2)
    except Exception:  # multiprocessing would print the traceback, and not log it
        log.exception("the worker cannot begin to serve")
        sys.exit(1)

    # What is loaded by now stays. The collector would walk it every few thousand requests.
    gc.collect()
    gc.freeze()
    batcher = app.state.inference.batcher

    def report(predictor: Predictor) -> None:
        with contextlib.suppress(OSError):  # the supervisor has ended
            reports.send(Ready(predictor.model, predictor.device, predictor.runtime, workers))

    app.state.inference.on_swap = report
    Server(app, settings, lambda: report(batcher.predictor)).run(sockets=sockets)
    if batcher.lost:
        sys.exit(1)


class Server(uvicorn.Server):
    """The HTTP server with Inkling's configuration; calls `ready` once it accepts connections."""

    def __init__(self, app: Inkling, settings: Settings, ready: Callable[[], None] = lambda: None) -> None:
        self._app = app
        self._ready = ready
        self._listening: list[socket.socket] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._max_connections = _max_connections()
        self._logged = -math.inf
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                access_log=False,
                proxy_headers=False,
                ws="none",
                root_path=settings.root_path,
                timeout_graceful_shutdown=DRAIN_SECONDS,
                server_header=False,
                headers=[("X-Content-Type-Options", "nosniff")],  # a browser must not take an answer for a page
                log_config=None,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts few connections at a time. uvicorn would accept all at once and leave none to the other workers."""
        await super().startup([])
        self._listening = sockets or []
        for listening in self._listening:
            listening.setblocking(False)
            self._resume_accepting(listening)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts the connections that wait already, then stops accepting, and ends as uvicorn does.

        Event streams end at once: they would last as long as the drain does.
        """
        self._app.state.job_events.close()
        for listening in self._listening:
            while self._accept(listening):
                pass
            asyncio.get_running_loop().remove_reader(listening)
        await asyncio.gather(*self._connecting)
        await super().shutdown(sockets)

    def _resume_accepting(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept_some, listening)

    def _accept_some(self, listening: socket.socket) -> None:
        """Accepts more at a time when more are connected, so that many new ones do not wait many turns of the loop."""
        for _ in range(1 + len(self.server_state.connections) // _CONNECTIONS_PER_ACCEPT):
            if not self._accept(listening):
                break

    def _accept(self, listening: socket.socket) -> bool:
        """Accepts one connection. False if none is waiting: another worker may have been faster."""
        if len(self.server_state.connections) + len(self._connecting) >= self._max_connections:
            self._pause_accepting(listening, f"{self._max_connections:,} are open, as ulimit -n allows")
            return False
        try:
            connection, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # out of file descriptors or memory
            self._pause_accepting(listening, str(error))
            return False
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.get_running_loop().create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return True

    def _pause_accepting(self, listening: socket.socket, reason: str) -> None:
        """Trying again at once would keep a core busy."""
        loop = asyncio.get_running_loop()
        if loop.time() > self._logged + _LOG_SECONDS:
            self._logged = loop.time()
            log.warning("connections wait to be accepted: %s", reason)
        loop.remove_reader(listening)
        loop.call_later(_ACCEPT_PAUSE, self._resume_accepting, listening)

    async def _connect(self, connection: socket.socket) -> None:
        def protocol() -> Protocol:
            made = Protocol(self.config, self.server_state, self.lifespan.state)
            made.request_log = self._app.access_log
            made.fast_predict = self._app.fast_predict
            return made

        try:
            await asyncio.get_running_loop().connect_accepted_socket(protocol, connection)
        except OSError:  # the client has disconnected
            connection.close()

    async def on_tick(self, counter: int) -> bool:
        """Also checks the connections, and ends the worker when its device is lost: a new process may get it back."""
        if counter % _TICKS_PER_CHECK == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(cast(set[Protocol], self.server_state.connections)):
                connection.check(now)
        if self._app.state.inference.batcher.lost:
            log.critical("the device is lost: %s", self._app.state.inference.batcher.failure)
            return True
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM asks the server to stop. Unlike uvicorn's, this does not raise the signal again afterwards."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.handle_exit)
        yield


def _raise_file_limit() -> None:
    """Opens as many files as the system allows. The usual soft limit, 1,024, is one that a single client can use up."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses what it calls unlimited
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _max_connections() -> float:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if files == resource.RLIM_INFINITY else max(1, files - _RESERVED_FILES)


def _end_with_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(KILL_SECONDS)
        os._exit(1)  # no supervisor is left to kill a worker that does not end
