"""SIGKILL at seeded moments, of the trainer or of the service, while jobs run and versions are activated."""

import contextlib
import random
import time
from collections import Counter
from pathlib import Path

import httpx
import psutil

from benchmarks.learning.service import ENDED, JOB_SECONDS, home, new_folder, newest_job, serve, trainers, wait
from benchmarks.servers import Server
from models.registry.registry import RELEASED, ModelRegistry
from models.registry.version_files import read

LONGEST_SECONDS = 25.0
"""About as long as a job takes, up to its activation."""
STALE_SECONDS = 40
SETTINGS = {"WORKERS": "1", "KEEP_VERSIONS": "3"}


def measure(data: Path, count: int, seed: int = 0) -> Counter[str]:
    """How often each process was killed, and each state in which a job ended. Raises AssertionError on any damage."""
    generator, found = random.Random(seed), Counter[str]()
    with new_folder() as folder:
        saved = ModelRegistry(home(folder))
        for _ in range(2):
            release = read(RELEASED / "net")
            saved.write(release.network().state_dict(), release.manifest)
        saved.activate("v1")
        server = serve(folder, data, **SETTINGS)
        try:
            for _ in range(count):
                server.client.post("/retrain", json={"epochs": 1, "seed": generator.randrange(1000)})
                victim = generator.choice(["trainer", "service", "supervisor", "activating service"])
                _pause(server, generator.uniform(0, LONGEST_SECONDS), victim == "activating service")
                _kill(server, folder, victim)
                found[victim] += 1
                if victim != "trainer":
                    server = serve(folder, data, **SETTINGS)
                found[_check(server, folder)] += 1
        finally:
            server.kill()
    return found


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
