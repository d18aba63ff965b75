"""Runs the service: checks first, then uvicorn."""

import logging
import signal
import socket

import torch
import uvicorn

from app.main import create_app
from app.service import prepare
from app.settings import Settings
from models.errors import InklingError

DRAIN_SECONDS = 10


class PortTaken(InklingError):
    pass


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises InklingError for what the operator can mend, before anything is served."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s  %(message)s")
    # One small forward pass gains nothing from more threads, and threads of several workers fight.
    torch.set_num_threads(1)
    listening = _listen(settings.host, settings.port)
    _, versions = prepare(settings)
    versions.load(versions.active())
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            timeout_keep_alive=75,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
            log_config=None,
        )
    )
    # uvicorn raises the signals that ended it once more when it is done; a clean end is not a death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with listening:
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise PortTaken(
            f"can not listen on {host}:{port}: {error.strerror}; INKLING_HOST and INKLING_PORT choose another"
        ) from error
    return listening
