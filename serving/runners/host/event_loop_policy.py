"""Decides whether a batch runs on the event loop or in a thread.

A hand-over to a thread and back takes 20 us on an idle machine (`python -m tests.measure.thread_pool`), and under load,
when both threads want the interpreter, up to its switch interval of 5 ms. Small tabular models answer faster. Such a
batch runs on the event loop, which it blocks for no longer than the hand-over would. A model whose warm-up was slow
always runs in a thread.
"""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.0004
# After one call this slow the model does not run on the event loop again.
TOO_SLOW_S: Final = 0.05
_FIRST_PAUSE_CALLS: Final = 16
_LONGEST_PAUSE_CALLS: Final = 4096


class EventLoopPolicy:
    """Durations of one method's calls, by the magnitude of their number of rows."""

    def __init__(self) -> None:
        self._is_ever_quick = False
        self._expected_s: dict[int, float] = {}
        self._pause: dict[int, int] = {}
        self._next_pause: dict[int, int] = {}

    def record_warm_up(self, rows: int, seconds: float) -> None:
        """Record the fastest warm-up call."""
        self._is_ever_quick = seconds < QUICK_S
        self._expected_s = {rows.bit_length(): seconds}

    def is_quick(self, rows: int) -> bool:
        """Return whether a call with `rows` rows runs on the event loop."""
        if not self._is_ever_quick:
            return False
        size = rows.bit_length()
        pause = self._pause.get(size, 0)
        if pause:
            self._pause[size] = pause - 1
            return False
        expected_s = self._expected_s.get(size)
        if expected_s is None:
            # No measurement yet: the estimate is twice the duration of half as many rows.
            smaller_s = self._expected_s.get(size - 1)
            return smaller_s is not None and 2 * smaller_s < QUICK_S
        return True

    def record(self, rows: int, seconds: float) -> None:
        """Record a call that ran on the event loop."""
        size = rows.bit_length()
        self._expected_s[size] = seconds
        if seconds < QUICK_S:
            self._next_pause.pop(size, None)
        elif seconds > TOO_SLOW_S:
            self._is_ever_quick = False
        else:
            # Perhaps the system scheduled another process: try again after pauses that grow.
            pause = self._next_pause.get(size, _FIRST_PAUSE_CALLS)
            self._pause[size] = pause
            self._next_pause[size] = min(2 * pause, _LONGEST_PAUSE_CALLS)
