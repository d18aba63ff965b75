"""What the measurement of a bound has to know: the cores, a folder, and how long to measure."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers, wrk
from benchmarks.pictures import Body
from benchmarks.servers import Server


@dataclass(frozen=True)
class Setting:
    """seconds: how long a load lasts; rounds: how often sides take turns; requests: how many `growth` sends.

    minutes: how long `endurance` lasts; data: the folder that holds MNIST/raw, for its retraining.
    """

    folder: Path
    server_core: int
    load_core: int
    seconds: int
    rounds: int
    requests: int
    minutes: int
    data: Path

    def inkling(self, name: str) -> Server:
        """One worker with default settings, on the servers' core."""
        return servers.inkling(name, self.folder, {"WORKERS": "1"}, {self.server_core})

    def load(self, server: Server, body: Body, connections: int) -> wrk.Load:
        return wrk.run(f"{server.url}/predict", body, connections, self.seconds, {self.load_core})
