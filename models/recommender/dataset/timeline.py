"""Statistics of events by group (an item, or an item and a user attribute) up to a moment.

Every query has an upper time limit, so that no later event contributes. Times are Unix seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Timeline:
    """Events as one sorted int64 array: the times of group g are shifted by g times the span of all times."""

    def __init__(
        self, groups: Integers, times: Integers, count: int, values: NDArray[np.float32] | None = None
    ) -> None:
        self._low = int(times.min()) if len(times) else 0
        self._span = (int(times.max()) - self._low if len(times) else 0) + 3
        keys = self._keys(groups, times)
        order = np.argsort(keys, kind="stable")
        self._events = keys[order]
        self._starts = np.searchsorted(self._events, np.arange(count, dtype=np.int64) * self._span)
        self._sums = None if values is None else np.concatenate(([0.0], np.cumsum(values[order], dtype=np.float64)))

    def ends(self, groups: Integers, until: Integers) -> Integers:
        """Return the end position of each group's events up to its moment (inclusive), for the other methods."""
        return np.searchsorted(self._events, self._keys(groups, until), side="right")

    def counts(self, groups: Integers, ends: Integers) -> Integers:
        """Return the number of events of each group before its end position."""
        return ends - self._starts[groups]

    def sums(self, groups: Integers, ends: Integers) -> Floats:
        """Return the sum of the values of these events; zeros without values."""
        if self._sums is None:
            return np.zeros(len(groups))
        return np.asarray(self._sums[ends] - self._sums[self._starts[groups]])

    def first(self, groups: Integers) -> Integers:
        """Return the time of each group's first event; undefined for a group without events."""
        return self._time(groups, self._starts[groups])

    def latest(self, groups: Integers, ends: Integers) -> Integers:
        """Return the time of the last event before the end position; undefined for a group without events."""
        return self._time(groups, ends - 1)

    def _time(self, groups: Integers, positions: Integers) -> Integers:
        if not len(self._events):
            return np.zeros_like(groups)
        return self._events[np.clip(positions, 0, len(self._events) - 1)] - groups * self._span - 1 + self._low

    def _keys(self, groups: Integers, times: Integers) -> Integers:
        return np.asarray(groups * self._span + np.clip(times - self._low, -1, self._span - 2) + 1, np.int64)
