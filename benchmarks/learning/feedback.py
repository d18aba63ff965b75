"""The worth of feedback: a service, some digits of a new hand as feedback, and one retraining job."""

import asyncio
import contextlib
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uvloop

from benchmarks import client, pictures
from benchmarks.client import Answer
from benchmarks.learning.hand import Hand
from benchmarks.learning.service import home, new_folder, retrain, serve, trainers
from benchmarks.machine import BenchmarkError
from benchmarks.servers import Server
from models.registry.registry import ModelRegistry

RATE, TURN_SECONDS, CONNECTIONS = 50, 10, 64


@dataclass(frozen=True)
class Outcome:
    """job: as /retrain gives it; seconds: how long it took.

    before, after: the share of the other digits of that hand that v1 and the candidate read correctly; paused, running:
    the answers to the load while the trainer was stopped, and while it ran.
    """

    job: dict[str, Any]
    seconds: float
    before: float
    after: float
    paused: list[Answer]
    running: list[Answer]

    @property
    def mnist(self) -> tuple[float, float]:
        """The share of held-out MNIST that the active version and the candidate read correctly."""
        found = self.job["metrics"]["gate"]["mnist"]
        return found["active_right"] / found["images"], found["candidate_right"] / found["images"]


def measure(
    hand: Hand, data: Path, count: int, seed: int, random_labels: bool = False, loaded: bool = False
) -> Outcome:
    """Sends `count` digits as feedback and retrains. The candidate is measured even if the gate rejects it."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(hand.labels))
    sent, others = order[:count], order[count:]
    labels = generator.integers(0, 10, len(hand.labels)) if random_labels else hand.labels
    paused: list[Answer] = []
    running: list[Answer] = []
    with new_folder() as folder:
        with serve(folder, data) as server:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda i: _correct(server, hand.pictures[i], int(labels[i])), sent))
            started = time.monotonic()
            if loaded:
                job = uvloop.run(_retrain_under_load(server, folder, hand, seed, paused, running))
            else:
                job = retrain(server, seed=seed)
            seconds = time.monotonic() - started
        if job["version"] is None:
            raise BenchmarkError(f"the job ended as {job['state']} without a version: {job['reason']}")
        before, after = (_right(folder, name, hand, others) for name in ("v1", job["version"]))
    return Outcome(job, seconds, before, after, paused, running)


def _correct(server: Server, picture: bytes, label: int) -> None:
    server.client.post("/feedback", files={"file": picture}, data={"label": str(label)}).raise_for_status()


async def _retrain_under_load(
    server: Server, folder: Path, hand: Hand, seed: int, paused: list[Answer], running: list[Answer]
) -> dict[str, Any]:
    """Stops and resumes the trainer in turns, so that both sides see the same machine."""
    requests = [client.post("/predict", pictures.raw(picture)) for picture in hand.pictures]
    job = asyncio.create_task(asyncio.to_thread(lambda: retrain(server, seed=seed)))
    while not job.done():
        for answers, number in ((paused, signal.SIGSTOP), (running, signal.SIGCONT)):
            for trainer in await asyncio.to_thread(trainers, folder):
                with contextlib.suppress(psutil.NoSuchProcess):
                    trainer.send_signal(number)
            answers += await client.offer(server.port, requests, RATE, TURN_SECONDS, CONNECTIONS)
    return await job


def _right(folder: Path, name: str, hand: Hand, chosen: np.ndarray) -> float:
    predictor = ModelRegistry(home(folder)).load(name).predictor()
    logits = np.concatenate([predictor.logits(hand.tiles[part]) for part in np.array_split(chosen, 20)])
    return float((logits.argmax(axis=1) == hand.labels[chosen]).mean())
