"""SIGKILL at seeded moments, of the trainer or of the service, while a job runs and versions are activated."""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.learning.service import ENDED, JOB_SECONDS, Service, new_home, trainers, wait
from models.registry.registry import RELEASED, ModelRegistry, read

LONGEST_SECONDS = 25.0
"""About what a job takes, from its start to its activation."""
STALE_SECONDS = 40


def measure(data: Path, count: int, seed: int = 0) -> Counter[str]:
    """What was killed, and in which state the jobs ended. Raises AssertionError for whatever did not survive."""
    generator, found = random.Random(seed), Counter[str]()
    with new_home() as home:
        saved = ModelRegistry(home)
        for network in ("net", "net"):
            release = read(RELEASED / network)
            saved.write(release.network.state_dict(), release.manifest)
        saved.activate("v1")
        service = Service(home, data, INKLING_WORKERS="1", INKLING_KEEP_VERSIONS="3")
        try:
            for _ in range(count):
                service.client.post("/retrain", json={"epochs": 1, "seed": generator.randrange(1000)})
                victim = generator.choice(["trainer", "service", "supervisor", "activating service"])
                _pause(service, generator.uniform(0, LONGEST_SECONDS), victim == "activating service")
                _kill(service, victim)
                found[victim] += 1
                if victim != "trainer":
                    service = Service(home, data, INKLING_WORKERS="1", INKLING_KEEP_VERSIONS="3")
                found[_check(service, home)] += 1
        finally:
            service.kill()
    return found


def _pause(service: Service, seconds: float, activating: bool) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if activating:
            for version in service.client.get("/models").json()["versions"]:
                with contextlib.suppress(httpx.TransportError):
                    service.client.post(f"/models/{version['version']}/activate")
        else:
            time.sleep(min(0.01, max(0.0, deadline - time.monotonic())))


def _kill(service: Service, victim: str) -> None:
    if victim == "trainer":
        for pid in trainers(service.home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    elif victim == "supervisor":
        service.client.close()
        service.process.kill()
        service.process.wait()
    else:
        service.kill()
    wait(lambda: victim == "trainer" or not list(trainers(service.home)), STALE_SECONDS)


def _check(service: Service, home: Path) -> str:
    """Ready, on a version that loads, with no job that goes on for ever and no half version. How the job ended."""
    wait(service.ready, STALE_SECONDS)
    # A trainer that had not begun, or had ended, when it was to be killed leaves a job that goes on as usual.
    wait(lambda: service.job()["state"] in ENDED, JOB_SECONDS)
    saved = ModelRegistry(home)
    assert saved.active() in saved.names()
    for name in saved.names():
        assert saved.load(name).name == name
    served = service.client.get("/health").json()["model"]
    wait(lambda: service.client.get("/health").json()["model"] == saved.active(), STALE_SECONDS)
    assert served in saved.names()
    return str(service.job()["state"])
