"""A choice between two equivalent implementations by their recent run times."""

from __future__ import annotations

import statistics
import threading
from collections import deque

_WINDOW = 9
_MIN_SAMPLES = 3
_EXPLORE_EVERY = 16


class AdaptiveChoice:
    """Chooses option 0 or 1 by the median of the last nine run times of each. Thread-safe.

    Every sixteenth choice is the slower option, so that a change of the order is detected.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations_s: tuple[deque[float], deque[float]] = (deque(maxlen=_WINDOW), deque(maxlen=_WINDOW))
        self._fastest = 0
        self._choices = 0

    def choose(self) -> int:
        """Return the option to use now."""
        with self._lock:
            for option, durations_s in enumerate(self._durations_s):
                if len(durations_s) < _MIN_SAMPLES:
                    return option
            self._choices += 1
            return self._fastest if self._choices % _EXPLORE_EVERY else 1 - self._fastest

    def record(self, option: int, seconds: float) -> None:
        """Record the run time of an option."""
        with self._lock:
            self._durations_s[option].append(seconds)
            if all(self._durations_s):
                medians = [statistics.median(durations_s) for durations_s in self._durations_s]
                self._fastest = int(medians[1] < medians[0])
