"""Requests against /predict: at a steady rate, or as many as it takes."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx


@dataclass
class Outcome:
    """seconds: from the moment a request was due to its answer; answers: (sent, answered, model) in monotonic time."""

    seconds: list[float] = field(default_factory=list)
    answers: list[tuple[float, float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def steady(url: str, pictures: Sequence[bytes], rate: float, seconds: float, outcome: Outcome) -> None:
    """Sends when a request is due, whether or not those before it were answered, so that a stall counts in full."""
    tasks, begun = set(), time.monotonic()
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        for number in range(round(rate * seconds)):
            due = begun + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(_predict(client, pictures[number % len(pictures)], due, outcome))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)


async def full(url: str, pictures: Sequence[bytes], callers: int, stop: asyncio.Event) -> Outcome:
    """Each caller sends its next request as soon as it has its answer."""
    outcome = Outcome()

    async def call(client: httpx.AsyncClient, number: int) -> None:
        while not stop.is_set():
            await _predict(client, pictures[number % len(pictures)], time.monotonic(), outcome)
            number += callers

    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        await asyncio.gather(*(call(client, number) for number in range(callers)))
    return outcome


async def _predict(client: httpx.AsyncClient, picture: bytes, due: float, outcome: Outcome) -> None:
    sent = time.monotonic()
    try:
        answer = await client.post("/predict", content=picture)
    except httpx.HTTPError as error:
        outcome.failures.append(repr(error))
        return
    answered = time.monotonic()
    if answer.status_code != 200:
        outcome.failures.append(answer.text[:200])
        return
    outcome.seconds.append(answered - due)
    outcome.answers.append((sent, answered, answer.json()["model"]))
