"""What one worker has counted, in plain numbers that add up with those of others."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import TypeAdapter

Labels = tuple[str, ...]

_SAVED = TypeAdapter(dict[str, list[tuple[Labels, list[float]]]])


class MetricSums:
    """Series by metric and labels.

    A counter has one number. A histogram has how many values fell in each bucket, the last one without bound, and then
    the sum of the values.
    """

    def __init__(self) -> None:
        self.series: dict[str, dict[Labels, list[float]]] = {}

    @classmethod
    def loads(cls, data: bytes) -> Self:
        tally = cls()
        tally.series = {metric: dict(found) for metric, found in _SAVED.validate_json(data).items()}
        return tally

    def dumps(self) -> bytes:
        return _SAVED.dump_json({metric: list(found.items()) for metric, found in self.series.items()})

    def add(self, metric: str, labels: Labels, amount: float) -> None:
        self._numbers(metric, labels, 1)[0] += amount

    def observe(self, metric: str, labels: Labels, bounds: Sequence[float], values: Sequence[float]) -> None:
        """Values into a histogram whose buckets reach up to these bounds, and include them."""
        numbers = self._numbers(metric, labels, len(bounds) + 2)
        counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
        numbers[:] = [a + b for a, b in zip(numbers, [*counts.tolist(), sum(values)], strict=True)]

    def merge(self, other: "MetricSums") -> None:
        for metric, found in other.series.items():
            for labels, numbers in found.items():
                mine = self._numbers(metric, labels, len(numbers))
                mine[:] = [a + b for a, b in zip(mine, numbers, strict=True)]

    def _numbers(self, metric: str, labels: Labels, count: int) -> list[float]:
        series = self.series.setdefault(metric, {})
        if labels not in series:
            series[labels] = [0.0] * count
        return series[labels]
