"""What may stand in the place of a file."""

import os
import socket
from collections.abc import Callable
from pathlib import Path


def _bind_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)  # a socket's path has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _write_huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)  # sparse


NOT_FILES: dict[str, Callable[[Path], None]] = {
    "folder": lambda path: path.mkdir(),
    "named pipe": lambda path: os.mkfifo(path),
    "socket": _bind_socket,
    "endless device": lambda path: path.symlink_to("/dev/zero"),
    "circle of links": lambda path: path.symlink_to(path),
    "huge file": _write_huge_file,
}
"""Each makes something at a path that is no file of a sensible size, and that a careless reader waits for or drains."""
