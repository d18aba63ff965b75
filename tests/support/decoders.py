"""Decoders that wait, so that a test can look at a service whose decoders are busy."""

import contextlib
import threading
from collections.abc import Iterator

import pytest

from models.preprocessing import decoder_pool


@contextlib.contextmanager
def stalled_decoders(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """What does not decode on the event loop waits for the event, or until this context ends."""
    gate, read_structure = threading.Event(), decoder_pool.read_structure
    monkeypatch.setattr(decoder_pool, "read_structure", lambda *given: gate.wait(60) and read_structure(*given))
    try:
        yield gate
    finally:
        gate.set()
