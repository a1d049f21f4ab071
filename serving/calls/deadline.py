"""Until when a call may take: the caller's own deadline where there is one. Knows clocks only."""

from __future__ import annotations

import math
import time

from serving.caller import current_caller


def deadline(timeout_s: float) -> float:
    """The `time.monotonic()` at which the current call has to be answered, at most `timeout_s` from now."""
    given = current_caller().deadline
    return given if math.isfinite(given) else time.monotonic() + timeout_s


def elapsed_ms(started: float) -> float:
    """Milliseconds since `started`, in `time.perf_counter()` seconds."""
    return round((time.perf_counter() - started) * 1e3, 3)
