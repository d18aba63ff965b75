"""The counts of one worker as plain numbers that can be added to those of other workers."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from pydantic import TypeAdapter

Labels = tuple[str, ...]

_SERIES = TypeAdapter(dict[str, list[tuple[Labels, list[float]]]])


class MetricSums:
    """Numbers by metric and label values.

    A counter has one number. A histogram has the number of values in each bucket, the last of which has no upper bound,
    and then the sum of the values.
    """

    def __init__(self) -> None:
        self.series: dict[str, dict[Labels, list[float]]] = {}

    @classmethod
    def loads(cls, data: bytes) -> Self:
        sums = cls()
        sums.series = {metric: dict(found) for metric, found in _SERIES.validate_json(data).items()}
        return sums

    def dumps(self) -> bytes:
        return _SERIES.dump_json({metric: list(found.items()) for metric, found in self.series.items()})

    def add(self, metric: str, labels: Labels, amount: float) -> None:
        """Adds to a counter."""
        self._numbers(metric, labels, 1)[0] += amount

    def observe(self, metric: str, labels: Labels, bounds: Sequence[float], values: Sequence[float]) -> None:
        """Adds values to a histogram with these upper bounds, inclusive."""
        counts = np.bincount(np.searchsorted(bounds, values), minlength=len(bounds) + 1)
        _add(self._numbers(metric, labels, len(bounds) + 2), [*counts.tolist(), sum(values)])

    def merge(self, other: "MetricSums") -> None:
        """Adds another worker's numbers."""
        for metric, found in other.series.items():
            for labels, numbers in found.items():
                _add(self._numbers(metric, labels, len(numbers)), numbers)

    def _numbers(self, metric: str, labels: Labels, count: int) -> list[float]:
        series = self.series.setdefault(metric, {})
        if labels not in series:
            series[labels] = [0.0] * count
        return series[labels]


def _add(numbers: list[float], others: Sequence[float]) -> None:
    numbers[:] = [a + b for a, b in zip(numbers, others, strict=True)]
