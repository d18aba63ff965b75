"""The messages from the workers to the supervisor, and how long it waits for them to end.

The messages of the trainer process, JobSpec and JobEvent, are in models/contract.py.
"""

from dataclasses import dataclass

DRAIN_SECONDS = 10
"""How long a worker may take to answer what it has accepted."""
KILL_SECONDS = DRAIN_SECONDS + 5
"""How long a worker may take to end before it is killed."""


@dataclass(frozen=True)
class Ready:
    """A worker reports that it is ready, or is about to serve another version.

    workers: how many workers the service runs, which depends on the device.
    """

    model: str
    device: str
    runtime: str
    workers: int


@dataclass(frozen=True)
class Failed:
    """A worker reports that it cannot begin to serve."""

    reason: str
