"""Files that others may touch: bounded reads, atomic replacement, flushing to disk, and locks between processes."""

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from models.errors import HomeError


@contextmanager
def home_errors(path: Path) -> Iterator[None]:
    """Turns an OSError of the block, as on a full or read-only disk, into a HomeError that names the path."""
    try:
        yield
    except OSError as error:
        raise HomeError(f"{path} cannot be written: {error.strerror or error}") from error


def read_regular(path: Path, limit: int) -> bytes:
    """Reads a regular file of at most `limit` bytes, through links too; waits for no writer and reads no device.

    Raises OSError, whose strerror says what the path is instead, or that the file is too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind):
            name = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe"}.get(stat.S_IFMT(kind), "a device")
            raise OSError(errno.EINVAL, f"it is {name}, not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"it has more than {limit:,} bytes", str(path))
    return data


def write_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replaces the file in an existing folder; a crash leaves the old bytes or the new ones. Raises HomeError."""
    with home_errors(path), replacing(path, mode) as file:
        file.write(data)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A temporary file beside the path; at the end of the block it is flushed to disk and takes the path's place.

    After an error in the block the path is as before. Only the owner can read the temporary file. Raises OSError.
    """
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        Path(temporary).replace(path)
        sync(path.absolute().parent)
    finally:
        Path(temporary).unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flushes a file, or the entries of a folder, to disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_writable(folder: Path, name: str = "probe") -> None:
    """Makes the folder if it is missing, and tries to write there. Raises HomeError naming the folder and the uid.

    name: the file that the caller will write, as a file system may find its name too long.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder)).rmdir()
    except OSError as error:
        raise HomeError(f"{folder} cannot be written by uid {os.getuid()}: {error.strerror}") from error


@contextmanager
def locked(path: Path, before_waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Waits for a lock that one thread of one process holds at a time; makes its folder if missing. Raises HomeError.

    before_waiting: called once if somebody else holds the lock; an error of its own ends the wait. The kernel keeps the
    lock and releases it when its process ends, however that ends. The empty file stays: without a process that holds
    the lock it blocks nobody.
    """
    from filelock import FileLock, Timeout  # most commands never need a lock, and the import takes 70 ms

    lock = FileLock(path, preserve_lock_file=True)  # never a marker file, which would block after a crash
    with home_errors(path):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            before_waiting()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool | None:
    """Whether somebody holds `locked(path)`; None if there is no such file, or none that can be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False
