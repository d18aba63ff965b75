"""The sockets on which a service listens."""

import errno
import socket

from models.errors import InklingError

BACKLOG = 2048
_MISSING_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class PortTaken(InklingError):
    """The service cannot listen on the host and port of the settings."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Listens on every address of the host: `localhost` is ::1 and 127.0.0.1. Port 0 takes a free port.

    Skips an address that this machine does not have, such as ::1 in a container without IPv6. Raises PortTaken when no
    address is left, also for a host that has none.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in dict.fromkeys(found):
            free = (address[0], sockets[0].getsockname()[1], *address[2:]) if sockets and not port else address
            try:
                sockets.append(_listening(family, kind, protocol, free))
            except OSError as error:
                if error.errno not in _MISSING_ADDRESS:
                    raise
                missing = error
        if missing is not None and not sockets:
            raise missing
    except (OSError, UnicodeError) as error:
        for listening in sockets:
            listening.close()
        reason = error.strerror if isinstance(error, OSError) else error
        raise PortTaken(
            f"cannot listen on {host}:{port}: {reason}; INKLING_HOST and INKLING_PORT choose another"
        ) from error
    return sockets


def _listening(family: int, kind: int, protocol: int, address: tuple[object, ...]) -> socket.socket:
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
