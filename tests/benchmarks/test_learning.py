"""The learning benchmark, shorter."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.learning import activations, kills
from benchmarks.learning.hand import Hand

pytestmark = pytest.mark.slow

BUSY_SECONDS = 15
"""For a swap that takes less than two seconds on idle cores."""


@pytest.fixture
def drawn(encode, seven) -> Iterator[Hand]:
    yield Hand([encode(seven.resize((28, 28)))] * 500, np.zeros((500, 28, 28), np.uint8), np.full(500, 7))


def test_ten_kills_at_seeded_moments_damage_nothing(data_folder: Path) -> None:
    found = kills.measure(data_folder, 10)
    assert sum(found.counts.values()) == 20
    assert len(found.accepted) > 100
    assert found.lost == 0


def test_twenty_activations_under_full_load_fail_no_request(drawn: Hand, data_folder: Path) -> None:
    answers, latest = activations.measure(drawn, data_folder, 20)
    assert {answer.status for answer in answers} == {200}
    assert latest < BUSY_SECONDS
    assert len(answers) > 100
