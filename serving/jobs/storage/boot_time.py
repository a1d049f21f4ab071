"""The clock of leases and reservations: seconds since the start of the machine, which no change of the time affects.

All processes of a host share it. A time further ahead than the duration of a lease is from before a restart of the
machine, and counts as over.
"""

from __future__ import annotations

import time


def boot_time() -> float:
    """Return the seconds since the start of this machine, including sleep where the system counts it."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
