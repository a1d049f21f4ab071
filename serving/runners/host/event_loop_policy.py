"""Whether a call is quicker than handing it to a thread. Knows durations, nothing else.

Handing a call to a thread and back takes 20 us when nothing else runs (`python -m tests.measure.threads`); under load,
when both threads want the interpreter, up to its switch interval of 5 ms. Small tabular models answer in less. Such
calls are made where they stand; the event loop is then blocked for as long as it would have been by the hand-over. A
model whose warm-up was not quick never is.
"""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.0004
# One call this slow, and the model is not called on the event loop again.
TOO_SLOW_S: Final = 0.05
_FIRST_PAUSE_CALLS: Final = 16
_LONGEST_PAUSE_CALLS: Final = 4096


class EventLoopPolicy:
    """What one method's calls took, by the magnitude of their number of rows."""

    def __init__(self) -> None:
        self._is_ever_quick = False
        self._expected_s: dict[int, float] = {}
        self._pause: dict[int, int] = {}
        self._next_pause: dict[int, int] = {}

    def warmed_up(self, rows: int, seconds: float) -> None:
        """The quickest of the warm-up calls, of `rows` rows, took `seconds`."""
        self._is_ever_quick = seconds < QUICK_S
        self._expected_s = {rows.bit_length(): seconds}

    def is_quick(self, rows: int) -> bool:
        """Whether a call with `rows` rows is to be made without a thread."""
        if not self._is_ever_quick:
            return False
        size = rows.bit_length()
        pause = self._pause.get(size, 0)
        if pause:
            self._pause[size] = pause - 1
            return False
        expected_s = self._expected_s.get(size)
        if expected_s is None:
            # Never seen: twice what half as many rows take.
            smaller_s = self._expected_s.get(size - 1)
            return smaller_s is not None and 2 * smaller_s < QUICK_S
        return True

    def took(self, rows: int, seconds: float) -> None:
        """A call that was made without a thread took `seconds`."""
        size = rows.bit_length()
        self._expected_s[size] = seconds
        if seconds < QUICK_S:
            self._next_pause.pop(size, None)
        elif seconds > TOO_SLOW_S:
            self._is_ever_quick = False
        else:
            # Perhaps only this once, because the processor was taken away: tried again, ever more rarely.
            pause = self._next_pause.get(size, _FIRST_PAUSE_CALLS)
            self._pause[size] = pause
            self._next_pause[size] = min(2 * pause, _LONGEST_PAUSE_CALLS)
