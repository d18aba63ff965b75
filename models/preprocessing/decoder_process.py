"""A process that decodes and normalises one image at a time, within limits of memory and processor time.

Decoders are C libraries: the time and memory that they take, or a crash, cannot be bounded within the process that
calls them, and a thread cannot be ended. The process gets files whose structure was read, and it answers with a tile or
an error, as JSON, since what hostile bytes may have taken over must not be unpickled. It ends when its socket closes.
"""

import contextlib
import json
import logging
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from models import errors, subprocesses
from models.errors import CorruptPicture, InferenceFailed, Overloaded, PictureError, TooComplex
from models.preprocessing.decode import decode_structure
from models.preprocessing.file_structure import FileStructure
from models.preprocessing.normalise import TILE_SIDE, Tile, normalise

MAX_CPU_SECONDS = 2.0
CPU_SECONDS, CPU_SECONDS_PER_PIXEL = 0.25, 40e-9
"""What an image may take: five times what it takes on a slow processor."""
WALL_SECONDS = 10.0
"""The longest wait for the process to take an image, and for its answer. A process that the machine gives so little
time counts as overloaded."""
MAX_ANSWER_BYTES = 65_536

log = logging.getLogger(__name__)


class DecoderProcess:
    """The process as its user sees it. It starts when it is needed; all but `kill` belongs to one thread at a time.

    memory: the most bytes that it may take for an image.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def decode(self, file: FileStructure) -> Tile:
        """Raises PictureError; InferenceFailed or Overloaded when there is no process. Waits for the process."""
        connection = self._start()
        try:
            connection.send(replace(file, data=b""))
            connection.send_bytes(file.data)
            answer = json.loads(connection.recv_bytes(MAX_ANSWER_BYTES))
        except BlockingIOError:
            self.close()
            raise Overloaded(f"decoding the image did not end in {WALL_SECONDS:g} s") from None
        except (EOFError, OSError):
            raise self._failure(file) from None
        if "error" in answer:
            raise _picture_error(answer)
        pixels = np.frombuffer(bytearray.fromhex(answer["pixels"]), np.uint8).reshape(TILE_SIDE, TILE_SIDE)
        return Tile(pixels, tuple(answer["steps"]))

    def kill(self) -> None:
        """Ends what the process does; `decode` then raises, and starts another process when it is called again."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None and self._connection is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
        self._process = self._connection = None

    def _start(self) -> Connection:
        if self._connection is not None and self._process is not None and self._process.poll() is None:
            return self._connection
        self.close()
        try:
            self._connection = Connection(self._spawn())
        except OSError as error:
            raise Overloaded(f"no process can be started to decode the image: {error.strerror}") from error
        return self._connection

    def _spawn(self) -> int:
        """Starts the process. Returns the file descriptor of its socket. Raises OSError."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for wait in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # a read or write then raises BlockingIOError
                ours.setsockopt(socket.SOL_SOCKET, wait, struct.pack("@ll", int(WALL_SECONDS), 0))
            self._process = subprocess.Popen(  # noqa: S603 Inkling's own module
                subprocesses.command(__name__, str(self._memory)),
                cwd=subprocesses.ROOT,
                env=_environment(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the supervisor
            )
            return ours.detach()

    def _failure(self, file: FileStructure) -> PictureError | InferenceFailed:
        """Why the process has ended, or ends now."""
        process = self._process
        self.close()
        status = process.returncode if process is not None else 0
        if status in (-signal.SIGPROF, -signal.SIGXCPU):
            return TooComplex(f"decoding this {file.kind} image takes longer than {_cpu_seconds(file):.2g} s")
        if status == -signal.SIGKILL:
            return TooComplex(f"decoding this {file.kind} image takes more memory than there is")
        if status < 0:
            return CorruptPicture(f"the {file.kind} image is corrupt: it crashes the decoder")
        log.error("the process that decodes images ended with status %d", status)
        return InferenceFailed("the process that decodes images ended")


def _environment() -> dict[str, str]:
    """What Python needs to start, and nothing secret. OpenBLAS would take memory for each core."""
    needed = ("PATH", "PYTHON", "LD_", "DYLD_")
    return {
        **{name: value for name, value in os.environ.items() if name.startswith(needed)},
        "OPENBLAS_NUM_THREADS": "1",
    }


def _picture_error(answer: dict[str, Any]) -> PictureError:
    kind = getattr(errors, answer["error"])
    found = kind(answer["message"], **answer["members"])
    assert isinstance(found, PictureError)  # noqa: S101 nothing else is sent
    return found


def _cpu_seconds(file: FileStructure) -> float:
    return min(MAX_CPU_SECONDS, CPU_SECONDS + CPU_SECONDS_PER_PIXEL * file.width * file.height)


def main() -> None:
    """Answers on standard input, a socket, until it closes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # who stops a service may signal all its processes
    connection = Connection(sys.stdin.fileno())
    _limit_memory(int(sys.argv[1]))
    # Where libraries in C complain about images.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    with contextlib.suppress(EOFError, OSError):
        while True:
            head: FileStructure = connection.recv()
            file = replace(head, data=connection.recv_bytes())
            # At the end of the time the kernel ends the process.
            signal.setitimer(signal.ITIMER_PROF, _cpu_seconds(file))
            answer = _answer(file)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(json.dumps(answer).encode())


def _answer(file: FileStructure) -> dict[str, Any]:
    try:
        tile = normalise(decode_structure(file))
    except PictureError as error:
        return {"error": type(error).__name__, "message": str(error), "members": error.members}
    except MemoryError:
        return {"error": TooComplex.__name__, "message": "normalising the image takes too much memory", "members": {}}
    return {"pixels": tile.pixels.tobytes().hex(), "steps": tile.steps}


def _limit_memory(memory: int) -> None:
    """Limits what the process may allocate above what it has by now, where the system can tell that (Linux)."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        used = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
        resource.setrlimit(resource.RLIMIT_DATA, (used + memory, used + memory))


if __name__ == "__main__":
    main()
