"""What the processes of a service tell each other, and how long they wait for each other.

The trainer process reads a JobSpec and reports JobEvents: models/contract.py.
"""

from dataclasses import dataclass

DRAIN_SECONDS = 10
"""How long a worker may take to answer what it has accepted."""
KILL_SECONDS = DRAIN_SECONDS + 5
"""How long a worker may take to end before it is killed."""


@dataclass(frozen=True)
class Ready:
    """A worker reports that it answers. workers: how many of them there should be, which depends on the device."""

    model: str
    device: str
    workers: int


@dataclass(frozen=True)
class Failed:
    """A worker reports that it cannot begin to serve."""

    reason: str
