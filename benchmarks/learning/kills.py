"""SIGKILL at seeded moments, of the trainer or of the service, while jobs run, versions are activated, and corrections
arrive. Every correction that was answered with 201 has to be in the database afterwards.
"""

import contextlib
import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from PIL import Image

from benchmarks.learning.service import ENDED, JOB_SECONDS, home, new_folder, newest_job, serve, trainers, wait
from benchmarks.pictures import encode
from benchmarks.servers import KEY, Server
from models.registry.registry import RELEASED, ModelRegistry
from models.registry.version_files import read
from training.data import mnist

LONGEST_SECONDS = 25.0
"""About as long as a job takes, up to its activation."""
STALE_SECONDS = 40
CORRECTION_SECONDS = 0.1
SETTINGS = {"WORKERS": "1", "KEEP_VERSIONS": "3"}


@dataclass(frozen=True)
class Survival:
    """counts: how often each process was killed, and each state in which a job ended.

    accepted: the ids of the corrections that were answered with 201; stored: those of the rows in the database.
    """

    counts: Counter[str]
    accepted: set[str]
    stored: set[str]

    @property
    def lost(self) -> int:
        return len(self.accepted - self.stored)


class Corrections:
    """A thread that sends digits of MNIST as corrections, each once, to whichever service `url` names."""

    def __init__(self, data: Path) -> None:
        self.url = ""
        self.accepted: set[str] = set()
        self._digits = mnist.training_set(data, download=False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="corrections")

    def __enter__(self) -> "Corrections":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        for picture, label in self._pictures():
            with contextlib.suppress(httpx.HTTPError):
                answer = httpx.post(
                    f"{self.url}/feedback",
                    files={"file": picture},
                    data={"label": str(label)},
                    headers={"X-API-Key": KEY},
                    timeout=30,
                )
                if answer.status_code == 201:
                    self.accepted.add(answer.json()["id"])
            if self._ended.wait(CORRECTION_SECONDS):
                return

    def _pictures(self) -> Iterator[tuple[bytes, int]]:
        for image, label in zip(self._digits.images, self._digits.labels, strict=True):
            yield encode(Image.fromarray(image.numpy()), "PNG"), int(label)


def measure(data: Path, count: int, seed: int = 0) -> Survival:
    """Raises AssertionError on any damage to versions or jobs."""
    generator, found = random.Random(seed), Counter[str]()
    with new_folder() as folder, Corrections(data) as corrections:
        saved = ModelRegistry(home(folder))
        for _ in range(2):
            release = read(RELEASED / "net")
            saved.write(release.network().state_dict(), release.manifest, release.compiled)
        saved.activate("v1")
        server = serve(folder, data, **SETTINGS)
        corrections.url = server.url
        try:
            for _ in range(count):
                server.client.post("/retrain", json={"epochs": 1, "seed": generator.randrange(1000)})
                victim = generator.choice(["trainer", "service", "supervisor", "activating service"])
                _pause(server, generator.uniform(0, LONGEST_SECONDS), victim == "activating service")
                _kill(server, folder, victim)
                found[victim] += 1
                if victim != "trainer":
                    server = serve(folder, data, **SETTINGS)
                    corrections.url = server.url
                found[_check(server, folder)] += 1
        finally:
            server.kill()
        return Survival(found, set(corrections.accepted), _stored(folder))


def _stored(folder: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(home(folder) / "inkling.db")) as database:
        return {row[0] for row in database.execute("SELECT id FROM feedback")}


def _pause(server: Server, seconds: float, activating: bool) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if activating:
            for version in server.client.get("/models").json()["versions"]:
                with contextlib.suppress(httpx.TransportError):
                    server.client.post(f"/models/{version['version']}/activate")
        else:
            time.sleep(min(0.01, max(0.0, deadline - time.monotonic())))


def _kill(server: Server, folder: Path, victim: str) -> None:
    """The supervisor is killed alone: its workers and its trainer have to end by themselves."""
    if victim == "trainer":
        for trainer in trainers(folder):
            with contextlib.suppress(psutil.NoSuchProcess):
                trainer.kill()
    elif victim == "supervisor":
        server.client.close()
        server.process.kill()
        server.process.wait()
    else:
        server.kill()
    wait(lambda: victim == "trainer" or not trainers(folder), STALE_SECONDS)


def _check(server: Server, folder: Path) -> str:
    """The service is ready on a version that loads, no job goes on for ever, and no version is incomplete.

    Returns the state in which the job ended.
    """
    server.wait_ready()
    # A trainer that was not running at the moment of its kill leaves a job that goes on as usual.
    wait(lambda: newest_job(server)["state"] in ENDED, JOB_SECONDS)
    saved = ModelRegistry(home(folder))
    assert saved.active() in saved.names()
    for name in saved.names():
        assert saved.load(name).name == name
    served = server.client.get("/health").json()["model"]
    wait(lambda: server.client.get("/health").json()["model"] == saved.active(), STALE_SECONDS)
    assert served in saved.names()
    return str(newest_job(server)["state"])
