"""Corrections that arrive while workers and whole services are killed."""

import os
import random
import signal
import threading
from collections.abc import Callable

import httpx
import pytest
import sqlalchemy as sa
from PIL import Image, ImageDraw

from app.settings import Settings
from app.storage import tables
from app.storage.database import Database
from tests.support.processes import workers
from tests.support.service import KEY, WITH_KEY, Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

KILLS = ("worker", "service", "worker")
BETWEEN = 20
"""Corrections that are accepted between two kills."""


def drawn(number: int) -> Image.Image:
    """A scribble that no other number has."""
    generator = random.Random(number)
    image = Image.new("L", (60, 60), 255)
    points = [(generator.randrange(10, 50), generator.randrange(10, 50)) for _ in range(4)]
    ImageDraw.Draw(image).line(points, fill=0, width=5, joint="curve")
    return image


def test_every_correction_that_was_accepted_is_stored_whatever_is_killed(
    serve: Callable[..., Server], database_url: str, encode
) -> None:
    accepted: set[str] = set()
    numbers, done = iter(range(100_000)), threading.Event()
    settings = {"INKLING_WORKERS": "2", "INKLING_API_KEY": KEY, "INKLING_DATABASE_URL": database_url}
    server = serve(**settings)

    def send() -> None:
        while not done.is_set():
            files = {"file": encode(drawn(next(numbers)))}
            try:
                answer = httpx.post(
                    f"{server.url}/feedback", files=files, data={"label": "3"}, headers=WITH_KEY, timeout=30
                )
            except httpx.TransportError:
                done.wait(0.1)
                continue
            if answer.status_code == 201:
                accepted.add(answer.json()["id"])

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    try:
        for victim in KILLS:
            before = len(accepted)
            wait_until(lambda before=before: len(accepted) > before + BETWEEN)
            assert server.process is not None
            if victim == "worker":
                os.kill(workers(server.process.pid)[0], signal.SIGKILL)
            else:
                for pid in (server.process.pid, *workers(server.process.pid)):
                    os.kill(pid, signal.SIGKILL)
                server = serve(**settings)
    finally:
        done.set()
        for sender in senders:
            sender.join()
    database = Database(Settings(database_url=database_url))
    with database.read() as connection:
        stored = set(connection.scalars(sa.select(tables.feedback.c.id)))
    database.close()
    assert len(accepted) > len(KILLS) * BETWEEN
    assert accepted <= stored
