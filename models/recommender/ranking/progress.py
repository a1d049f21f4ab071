"""The progress of several fits at once, as one progress."""

from __future__ import annotations

from threading import Lock

from models.recommender.algorithms.base import Progress

_PARTS = 100


class StepCounter:
    """The sum of the progress of `steps` fits, each counted as 100 parts. Thread-safe."""

    def __init__(self, progress: Progress, steps: int) -> None:
        self._progress = progress
        self._total = _PARTS * steps
        self._done = 0
        self._lock = Lock()

    def of_one(self) -> Progress:
        """Return the progress of one of the fits."""
        before = 0

        def progress(done: int, total: int) -> None:
            nonlocal before
            parts = _PARTS * done // max(1, total)
            with self._lock:
                self._done += parts - before
                before = parts
                self._progress(self._done, self._total)

        return progress
