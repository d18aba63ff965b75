"""The state of a run after its last complete epoch, in one file: what a killed training goes on from."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from models import fs
from models.errors import DataError

RunState = dict[str, Any]


class Checkpoint:
    """A file that belongs to one run, which `identity` tells from others: its settings and data, as plain values."""

    def __init__(self, path: Path, identity: RunState) -> None:
        self.path = path
        self.identity = identity

    def load(self) -> RunState | None:
        """The state last saved, or None where there is no file. Raises DataError for the file of another run."""
        if not self.path.exists():
            return None
        if not self.path.is_file():
            raise DataError(f"{self.path} is no file, in which a run's state could be kept")
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            identity: RunState = found["identity"]
            state: RunState = found["state"]
            others = [name for name, value in self.identity.items() if identity.get(name) != value]
        except OSError as error:
            raise DataError(f"{self.path} can not be read: {error.strerror}") from error
        except Exception as error:  # torch.load raises whatever the unpickler met
            raise DataError(
                f"{self.path} is no checkpoint of a training run; remove it or name another file"
            ) from error
        if others:
            name = others[0]
            raise DataError(
                f"{self.path} belongs to another run: {name} is {identity.get(name)!r} there and "
                f"{self.identity[name]!r} here; remove the file to begin anew"
            )
        return state

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Raises DataError where what is done with the state shows that it does not fit, as after an upgrade."""
        try:
            yield
        except torch.OutOfMemoryError:  # of the device, and no fault of the state's
            raise
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DataError(f"{self.path} does not fit this run ({reason}); remove it to begin anew") from error

    def check_writable(self) -> None:
        """Makes its folder where it is missing. Raises HomeError where the file can not be kept there."""
        fs.check_writable(self.path.parent, self.path.name)

    def save(self, state: RunState) -> None:
        """Replaces the file whole: a run that is killed meanwhile keeps the state before. Raises DataError."""
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        buffer = io.BytesIO()  # to a file torch.save raises other errors than the system's
        torch.save({"identity": self.identity, "state": state}, buffer)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(buffer.getbuffer())
            partial.replace(self.path)
        except OSError as error:
            raise DataError(f"{self.path} can not be written: {error.strerror}") from error
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
