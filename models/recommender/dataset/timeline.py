"""Events of groups (of an item, of an item among people of one kind) in the order of time: what was known when.

Everything is asked "until" a moment, so that nothing later can be told. Knows numbers of groups and Unix seconds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


class Timeline:
    """Events as one ascending array of int64: each group's times are moved up by more than the whole span of time."""

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
        """Where the events of each group end that happened up to and with its moment: what the others are asked by."""
        return np.searchsorted(self._events, self._keys(groups, until), side="right")

    def counts(self, groups: Integers, ends: Integers) -> Integers:
        """How many events each group had by then."""
        return ends - self._starts[groups]

    def sums(self, groups: Integers, ends: Integers) -> Floats:
        """The sum of the values of these events; zeros without values."""
        if self._sums is None:
            return np.zeros(len(groups))
        return np.asarray(self._sums[ends] - self._sums[self._starts[groups]])

    def first(self, groups: Integers) -> Integers:
        """Time of each group's first event; without meaning where it had none by then."""
        return self._time(groups, self._starts[groups])

    def latest(self, groups: Integers, ends: Integers) -> Integers:
        """Time of the group's latest event by then; without meaning where it had none."""
        return self._time(groups, ends - 1)

    def _time(self, groups: Integers, places: Integers) -> Integers:
        if not len(self._events):
            return np.zeros_like(groups)
        return self._events[np.clip(places, 0, len(self._events) - 1)] - groups * self._span - 1 + self._low

    def _keys(self, groups: Integers, times: Integers) -> Integers:
        return np.asarray(groups * self._span + np.clip(times - self._low, -1, self._span - 2) + 1, np.int64)
