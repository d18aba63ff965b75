"""The state of a run after its last complete epoch, in one file, from which an interrupted run resumes."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from models import fs
from models.errors import DataError

RunState = dict[str, Any]


def check_same_settings(path: Path, found: RunState, expected: RunState) -> None:
    """Raises DataError, naming the first difference, if what was found at the path has other settings than expected."""
    for name, value in expected.items():
        if name not in found:
            raise DataError(
                f"{path} was written by another release of Inkling or for another kind of run: it does not say {name}; "
                "remove it to start again"
            )
        if found[name] != value:
            raise DataError(
                f"{path} belongs to another run: {name} is {found[name]!r} there and {value!r} here; "
                "remove it to start again"
            )


class Checkpoint:
    """identity: the settings and data of the run, as plain values; a file with others belongs to another run."""

    def __init__(self, path: Path, identity: RunState) -> None:
        self.path = path
        self.identity = identity

    def load(self) -> RunState | None:
        """The saved state, or None if there is no file. Raises DataError for the file of another run or release."""
        if not self.path.exists():
            return None
        if not self.path.is_file():
            raise DataError(f"{self.path} is not a file; name a file for the checkpoint")
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            identity, state = dict(found["identity"]), dict(found["state"])
        except OSError as error:
            raise DataError(f"{self.path} cannot be read: {error.strerror}") from error
        except Exception as error:  # torch.load raises whatever the unpickler met
            raise DataError(f"{self.path} is not a checkpoint; remove it or name another file") from error
        check_same_settings(self.path, identity, self.identity)
        return state

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """Raises DataError if the block, which restores the state, finds that it does not fit."""
        try:
            yield
        except torch.OutOfMemoryError:  # the device is full; the state may fit
            raise
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DataError(f"{self.path} does not fit this run ({reason}); remove it to start again") from error

    def check_writable(self) -> None:
        """Makes the folder if it is missing. Raises HomeError if the file cannot be written there."""
        fs.check_writable(self.path.parent, self.path.name)

    def save(self, state: RunState) -> None:
        """Replaces the file atomically. Raises HomeError."""
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": state}, buffer)
        fs.write_atomically(self.path, buffer.getvalue())

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
