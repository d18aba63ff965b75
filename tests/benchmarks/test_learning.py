"""What the benchmark of the learning loop measures at length, in a few minutes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning import activations, kills
from benchmarks.learning.hand import Hand

BUSY_SECONDS = 15
"""For a swap that takes under two seconds on cores of its own."""


@pytest.fixture
def drawn(encode, seven) -> Iterator[Hand]:
    yield Hand([encode(seven.resize((28, 28)))] * 500, np.zeros((500, 28, 28), np.uint8), np.full(500, 7))


@pytest.mark.slow
def test_ten_kills_at_seeded_moments_leave_a_service_that_is_whole(data_folder: Path) -> None:
    found = kills.measure(data_folder, 10)
    assert sum(found.values()) == 20


@pytest.mark.slow
def test_twenty_activations_under_full_load_fail_no_request(drawn: Hand, data_folder: Path) -> None:
    outcome, latest = activations.measure(drawn, data_folder, 20)
    assert outcome.failures == []
    assert latest < BUSY_SECONDS
    assert len(outcome.answers) > 100
