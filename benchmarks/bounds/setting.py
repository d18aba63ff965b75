"""Where a bound is measured: the cores, the folder, and how long."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers
from benchmarks.servers import Server


@dataclass(frozen=True)
class Setting:
    """requests: how many the memory line sends; seconds: how long a load lasts; rounds: how often sides take turns."""

    folder: Path
    server_core: int
    load_core: int
    seconds: int
    rounds: int
    requests: int

    @contextmanager
    def inkling(self, name: str, **variables: str) -> Iterator[Server]:
        """One worker at its shipped defaults, alone on the servers' core."""
        server = servers.inkling(name, self.folder, {self.server_core}, **{"WORKERS": "1", **variables})
        try:
            yield server
        finally:
            server.stop()
