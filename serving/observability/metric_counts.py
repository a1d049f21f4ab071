"""Counts that are collected in memory and written to the metrics at intervals."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from prometheus_client import Histogram


class Flushed(Protocol):
    """A collector of counts that are written by `flush`."""

    def flush(self) -> None: ...


class MetricCounts:
    """Observations of one histogram that have not been written yet."""

    __slots__ = ("_bounds", "_buckets", "_sum", "number")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self.number = 0

    def add(self, value: float, number: int = 1) -> None:
        """Count `number` observations of `value`."""
        self.number += number
        self._sum += number * value
        self._buckets[bisect_left(self._bounds, value)] += number

    def move_to(self, histogram: Histogram) -> None:
        """Write the observations to `histogram` in one step, and reset."""
        histogram._sum.inc(self._sum)
        for bucket, number in zip(histogram._buckets, self._buckets, strict=True):
            if number:
                bucket.inc(number)
        self.number, self._sum, self._buckets = 0, 0.0, [0] * len(self._buckets)
