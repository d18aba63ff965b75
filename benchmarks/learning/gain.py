"""What corrections are worth: a service, some of a new hand's digits as feedback, one POST /retrain."""

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.learning.hand import Hand
from benchmarks.learning.load import Outcome, steady
from benchmarks.learning.service import Service, new_home, trainers
from models.registry.registry import ModelRegistry

RATE, TURN_SECONDS = 50, 10


@dataclass(frozen=True)
class Gain:
    """before, after: share right of the digits that were not sent.

    idle, busy: the load while the trainer was stopped, and while it ran.
    """

    job: dict[str, Any]
    seconds: float
    before: float
    after: float
    idle: Outcome | None = None
    busy: Outcome | None = None

    @property
    def mnist(self) -> tuple[float, float]:
        """Held-out MNIST, before and after, of the candidate, whether it took over or not."""
        found = self.job["metrics"]["gate"]["mnist"]
        return found["active_right"] / found["images"], found["candidate_right"] / found["images"]


def measure(
    hand: Hand, data: Path, corrections: int, seed: int, random_labels: bool = False, loaded: bool = False
) -> Gain:
    """before and after are of the candidate, also where the gate rejects it."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(hand.labels))
    sent, others = order[:corrections], order[corrections:]
    labels = generator.integers(0, 10, len(hand.labels)) if random_labels else hand.labels
    with new_home() as home:
        service = Service(home, data)
        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda i: _correct(service, hand.pictures[i], int(labels[i])), sent))
            started = time.monotonic()
            if loaded:
                job, idle, busy = asyncio.run(_retrain_under_load(service, hand, seed))
            else:
                job, idle, busy = service.retrain(seed=seed), None, None
            seconds = time.monotonic() - started
        finally:
            service.stop()
        if job["version"] is None:
            raise RuntimeError(f"the job {job['state']}: {job['reason']}")
        before, after = (_right(home, name, hand, others) for name in ("v1", job["version"]))
    return Gain(job, seconds, before, after, idle, busy)


def _correct(service: Service, picture: bytes, label: int) -> None:
    service.client.post("/feedback", files={"file": picture}, data={"label": str(label)}).raise_for_status()


async def _retrain_under_load(service: Service, hand: Hand, seed: int) -> tuple[dict[str, Any], Outcome, Outcome]:
    """In turns, so that both see the same machine: the trainer is stopped for a while, then it goes on."""
    idle, busy = Outcome(), Outcome()
    running = asyncio.create_task(asyncio.to_thread(lambda: service.retrain(seed=seed)))
    while not running.done():
        for outcome, number in ((idle, signal.SIGSTOP), (busy, signal.SIGCONT)):
            for pid in await asyncio.to_thread(lambda: list(trainers(service.home))):
                os.kill(pid, number)
            await steady(service.url, hand.pictures, RATE, TURN_SECONDS, outcome)
    return await running, idle, busy


def _right(home: Path, name: str, hand: Hand, chosen: np.ndarray) -> float:
    predictor = ModelRegistry(home).load(name).predictor(torch.device("cpu"))
    logits = np.concatenate([predictor.logits(hand.tiles[part]) for part in np.array_split(chosen, 20)])
    return float((logits.argmax(axis=1) == hand.labels[chosen]).mean())
