"""Which of two ways to do the same is the quicker one lately. Knows seconds, not what is done."""

from __future__ import annotations

import statistics
import threading
from collections import deque

_KEPT = 9
_FIRST = 3
_EVERY = 16


class AdaptiveChoice:
    """Chooses way 0 or 1 by the median of how long each took the last nine times. Safe from several threads.

    Every sixteenth time the slower one is tried, so that it is found out when it is the quicker one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._took_s: tuple[deque[float], deque[float]] = (deque(maxlen=_KEPT), deque(maxlen=_KEPT))
        self._best = 0
        self._chosen = 0

    def choose(self) -> int:
        """The way to go now."""
        with self._lock:
            for way, took_s in enumerate(self._took_s):
                if len(took_s) < _FIRST:
                    return way
            self._chosen += 1
            return self._best if self._chosen % _EVERY else 1 - self._best

    def took(self, way: int, seconds: float) -> None:
        """Tell how long a way took."""
        with self._lock:
            self._took_s[way].append(seconds)
            if all(self._took_s):
                medians = [statistics.median(each) for each in self._took_s]
                self._best = int(medians[1] < medians[0])
