"""The disk space of the jobs: what they use, what is reserved for their results, and what is being transferred.

A job uses the size of its items, and the size of its result or the space reserved for it, whichever is larger. An
upload or an export in progress has a reservation, which ends with the transfer, or after its time limit when the
process was killed. One caller may use at most half of what the others leave (see `serving.shared_limit`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from serving.errors.exceptions import JobsUnavailable, TooManyJobs
from serving.jobs.storage.boot_time import boot_time
from serving.jobs.storage.spool import free_bytes
from serving.shared_limit import share_of

# Free disk space that jobs leave to everything else.
SPARE_BYTES = 64 << 20
_USED = """
    SELECT COALESCE(SUM(size), 0), COALESCE(SUM(size) FILTER (WHERE caller = :caller), 0), COALESCE(SUM(unwritten), 0)
    FROM (
        SELECT caller, size_bytes + MAX(result_bytes, reserved_bytes) AS size,
               MAX(reserved_bytes - result_bytes, 0) AS unwritten
        FROM jobs WHERE status != 'expired'
        UNION ALL
        SELECT caller, size_bytes, size_bytes FROM reservations WHERE until > :now AND until <= :latest
    )
"""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """The limit of the disk space of all jobs in `folder`. Methods run within a transaction of the caller."""

    folder: Path
    max_bytes: int
    transfer_s: float = 660.0
    clock: Callable[[], float] = boot_time
    free: Callable[[Path], int] = free_bytes

    def check(self, connection: sqlite3.Connection, caller: str, size_bytes: int, *, written_bytes: int = 0) -> int:
        """Return the space that `caller` may use in addition to what it uses now.

        Raises JobsUnavailable unless `size_bytes` more fit, `written_bytes` of which are on the disk already, and
        TooManyJobs when they are more than the share of the caller.
        """
        used, own, unwritten = self._used(connection, caller)
        if used + size_bytes > self.max_bytes:
            raise JobsUnavailable(f"the jobs use {used} of {self.max_bytes} bytes, and {size_bytes} more are needed")
        if self.free(self.folder) - unwritten < SPARE_BYTES + size_bytes - written_bytes:
            raise JobsUnavailable("the disk of the jobs is full")
        room = share_of(self.max_bytes, used - own) - own
        if size_bytes > room:
            raise TooManyJobs(
                f"{size_bytes} bytes of disk space are needed for items and result, and {max(0, room)} are left of "
                "your share; delete jobs, or send fewer items"
            )
        return room

    def reserve(self, connection: sqlite3.Connection, name: str, caller: str, size_bytes: int) -> int:
        """Reserve space for a transfer, and return the space that the caller may use. Raises as `check`."""
        room = self.check(connection, caller, size_bytes)
        connection.execute(
            "INSERT INTO reservations (id, caller, size_bytes, until) VALUES (?, ?, ?, ?)",
            (name, caller, size_bytes, self.clock() + self.transfer_s),
        )
        return room

    def is_full(self, connection: sqlite3.Connection, more_bytes: int) -> bool:
        """Return whether `more_bytes` exceed the limit."""
        used, _, _ = self._used(connection, "")
        return used + more_bytes > self.max_bytes

    def end(self, connection: sqlite3.Connection, name: str) -> None:
        """End the reservation of a transfer, and those of killed processes."""
        now = self.clock()
        connection.execute(
            "DELETE FROM reservations WHERE id = ? OR until <= ? OR until > ?", (name, now, now + self.transfer_s)
        )

    def _used(self, connection: sqlite3.Connection, caller: str) -> tuple[int, int, int]:
        now = self.clock()
        values = {"caller": caller, "now": now, "latest": now + self.transfer_s}
        used, own, unwritten = connection.execute(_USED, values).fetchone()
        return int(used), int(own), int(unwritten)
