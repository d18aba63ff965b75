"""Runs the service: checks first, then uvicorn."""

import logging
import signal
import socket

import torch
import uvicorn
from fastapi import FastAPI

from app.main import create_app
from app.service import prepare
from app.settings import Settings
from models.engine import Engine
from models.errors import InklingError

DRAIN_SECONDS = 10

log = logging.getLogger(__name__)


class PortTaken(InklingError):
    pass


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises InklingError for what the operator can mend, before anything is served."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s  %(message)s")
    # One small forward pass gains nothing from more threads, and threads of several workers fight.
    torch.set_num_threads(1)
    listening = listen(settings.host, settings.port)
    device, versions = prepare(settings)
    Engine.warm(versions.load(versions.active()).predictor(device))
    server = server_of(create_app(settings), settings)
    # uvicorn raises the signals that ended it once more when it is done; a clean end is not a death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with listening:
        host, port = listening.getsockname()[:2]
        log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        server.run(sockets=[listening])


def server_of(app: FastAPI, settings: Settings) -> uvicorn.Server:
    """The HTTP server, set up as it is always used; `run` it with the sockets to listen on."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            # httptools drops the body of a request that offers an upgrade to HTTP/2, as Java's client does.
            http="h11",
            ws="none",
            root_path=settings.root_path,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
            log_config=None,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises PortTaken, also for a host that is none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PortTaken(
            f"can not listen on {host}:{port}: {reason}; INKLING_HOST and INKLING_PORT choose another"
        ) from error
    return listening
