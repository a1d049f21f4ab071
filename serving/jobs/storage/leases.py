"""Leases: how workers acquire, renew, checkpoint and finish jobs.

A worker holds a job by a token that every update has to present. When a lease is not renewed, because its process was
killed or hangs, another worker acquires the job, and the old token becomes invalid: results that were written under it
and not checkpointed do not count. Therefore no item is missing from a result, and no item appears twice. Leases use the
clock of `boot_time`, so that a change of the time of day neither ends nor extends them.

Every method may block, and raises JobsUnavailable when the database cannot be used.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.jobs.storage.boot_time import boot_time
from serving.jobs.storage.database import COLUMNS, Database, encode_models, job_of
from serving.jobs.storage.disk_space import DiskSpace
from serving.jobs.storage.record import Job, JobStatus, ModelUsage

# A job that was acquired this often without a checkpoint ends its worker each time, and fails.
MAX_ATTEMPTS = 5
# How long a job without disk space waits.
WAIT_S = 5.0
# A lease is never further ahead than its duration, except before a restart of the machine.
_FREE = "status IN ('queued', 'running') AND (leased_until <= :now OR leased_until > :latest)"
# The caller whose last turn is the oldest, then the oldest of its jobs.
_NEXT = "(SELECT MAX(turn) FROM jobs AS own WHERE own.caller = jobs.caller), turn, created, id"


@dataclass(frozen=True, slots=True)
class Lease:
    """A job, and the token of the worker that holds it."""

    job: Job
    token: str


class LeaseStore:
    """The leases on the jobs in one database. A lease expires after `lease_s` unless it is renewed."""

    def __init__(
        self,
        database: Database,
        *,
        lease_s: float,
        ttl_s: float,
        space: DiskSpace,
        clock: Callable[[], float] = time.time,
        lease_clock: Callable[[], float] = boot_time,
    ) -> None:
        self._database = database
        self.lease_s = lease_s
        self._ttl_s = ttl_s
        self._space = space
        self._clock = clock
        self._lease_clock = lease_clock

    def acquire(self) -> Lease | None:
        """Acquire a job without a lease, of the caller whose last turn is the oldest. Returns None without one."""
        token = secrets.token_hex(8)
        with self._database.writing() as connection:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE {_FREE} ORDER BY {_NEXT} LIMIT 1",  # noqa: S608
                self._now(),
            ).fetchone()
            if row is None:
                return None
            job = job_of(row)
            connection.execute(
                "UPDATE jobs SET status = 'running', started = COALESCE(started, :now), token = :token, "
                "turn = (SELECT MAX(turn) + 1 FROM jobs), leased_until = :until, fruitless = fruitless + 1 "
                "WHERE id = :id",
                {"now": self._clock(), "token": token, "until": self._until(), "id": job.id},
            )
            row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job.id,)).fetchone()  # noqa: S608
        return Lease(job_of(row), token)

    def has_waiting_jobs(self) -> bool:
        """Return whether there is an active job without a lease."""
        with self._database.reading() as connection:
            query = f"SELECT EXISTS (SELECT 1 FROM jobs WHERE {_FREE})"  # noqa: S608
            return bool(connection.execute(query, self._now()).fetchone()[0])

    def has_used_attempts(self, lease: Lease) -> bool:
        """Return whether the job was acquired more than MAX_ATTEMPTS times since its last checkpoint."""
        query = "SELECT fruitless FROM jobs WHERE id = ? AND token = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, (lease.job.id, lease.token)).fetchone()
        return row is not None and int(row[0]) > MAX_ATTEMPTS

    def renew(self, lease: Lease) -> bool:
        """Extend a lease. Returns False when it is lost: the job was cancelled, deleted, or acquired by another."""
        return self._update(lease, "leased_until = :until", until=self._until())

    def checkpoint(
        self, lease: Lease, *, done: int, failed: int, models: tuple[ModelUsage, ...], segment_bytes: int
    ) -> bool:
        """Record the progress of a job, and the valid size of its segment. Returns False when the lease is lost."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET done = ?, failed = ?, models = ?, leased_until = ?, fruitless = 0 "
                "WHERE id = ? AND token = ?",
                (done, failed, encode_models(models), self._until(), lease.job.id, lease.token),
            ).rowcount
            if not changed:
                return False
            connection.execute(
                "INSERT INTO segments (job, token, position, size_bytes) "
                "VALUES (:job, :token, (SELECT COUNT(*) FROM segments WHERE job = :job), :size) "
                "ON CONFLICT (job, token) DO UPDATE SET size_bytes = :size",
                {"job": lease.job.id, "token": lease.token, "size": segment_bytes},
            )
            connection.execute(
                "UPDATE jobs SET result_bytes = (SELECT SUM(size_bytes) FROM segments WHERE job = :job) "
                "WHERE id = :job",
                {"job": lease.job.id},
            )
        return True

    def has_room(self, lease: Lease, more_bytes: int) -> bool:
        """Return whether the result may grow: within the space reserved for it, or within the limit of all jobs."""
        query = "SELECT MAX(result_bytes + ? - MAX(result_bytes, reserved_bytes), 0) FROM jobs WHERE id = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, (more_bytes, lease.job.id)).fetchone()
            return row is None or not row[0] or not self._space.is_full(connection, int(row[0]))

    def release(self, lease: Lease, *, wait_s: float = 0.0) -> None:
        """Give the job back, so that another worker can acquire it, after `wait_s`. The turn is no attempt."""
        until = self._lease_clock() + wait_s if wait_s else 0.0
        self._update(lease, "token = NULL, leased_until = :until, fruitless = MAX(fruitless - 1, 0)", until=until)

    def finish(self, lease: Lease, status: JobStatus, *, fault: str = "") -> bool:
        """End the job. Returns False, and changes nothing, when the lease is lost."""
        now = self._clock()
        return self._update(
            lease,
            "status = :status, fault = :fault, finished = :now, expires = :expires, token = NULL, reserved_bytes = 0",
            status=status, fault=fault, now=now, expires=now + self._ttl_s,
        )  # fmt: skip

    def _until(self) -> float:
        return self._lease_clock() + self.lease_s

    def _now(self) -> dict[str, float]:
        """Return the values of `_FREE`."""
        now = self._lease_clock()
        return {"now": now, "latest": now + max(self.lease_s, WAIT_S)}

    def _update(self, lease: Lease, assignments: str, **values: float | str) -> bool:
        with self._database.writing() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET {assignments} WHERE id = :id AND token = :token",  # noqa: S608
                {"id": lease.job.id, "token": lease.token, **values},
            ).rowcount
        return bool(changed)
