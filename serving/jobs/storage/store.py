"""The jobs of all callers: add, find, list, cancel, delete and expire them.

Every method may block, and raises JobsUnavailable when the database cannot be used.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from serving.errors.exceptions import TooManyJobs
from serving.jobs.storage.database import COLUMNS, Database, Restore, job_of
from serving.jobs.storage.disk_space import DiskSpace
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.record import Job, JobStatus, NewJob

log = logging.getLogger("makunouchi.jobs")

# How much longer than its time limit a transfer may take until its end is noticed.
_LATE_S = 60.0
# Smaller corrections of the clock are ignored.
_CLOCK_S = 60.0
_ACTIVE = "status IN ('queued', 'running')"


@dataclass(frozen=True, slots=True)
class JobLimits:
    """The limits on stored jobs. A finished job expires after `ttl_s`, and its record is deleted after twice that.

    `transfer_s` limits the time of an upload or an export.
    """

    max_per_caller: int = 100
    max_disk_bytes: int = 8 << 30
    ttl_s: float = 86_400.0
    transfer_s: float = 600.0


@dataclass(frozen=True, slots=True)
class JobCounts:
    """The number of jobs by kind and status, and when the oldest queued job was created, in Unix seconds."""

    jobs: dict[tuple[str, JobStatus], int]
    oldest_queued: float | None


class JobStore:
    """The jobs in one database."""

    def __init__(
        self,
        database: Database,
        limits: JobLimits,
        *,
        clock: Callable[[], float] = time.time,
        space: DiskSpace | None = None,
    ) -> None:
        self._database = database
        self.limits = limits
        self._clock = clock
        self.space = space or DiskSpace(database.folder, limits.max_disk_bytes, limits.transfer_s + _LATE_S)

    def add(self, new: NewJob) -> tuple[Job, bool]:
        """Store a job and return it with True, or return the earlier job of the same owner and key with False.

        The reservation with its id ends. Raises TooManyJobs, and JobsUnavailable when the jobs would exceed the disk
        limit.
        """
        with self._database.writing() as connection:
            if new.key is not None:
                earlier = _select_one(connection, "owner = ? AND key = ?", new.owner, new.key)
                if earlier is not None:
                    return earlier, False
            self.space.end(connection, new.id)
            self._check_number(connection, new.caller)
            size_bytes = new.size_bytes + new.reserved_bytes
            self.space.check(connection, new.caller, size_bytes, written_bytes=new.size_bytes)
            insert(connection, new, self._clock())
            row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (new.id,)).fetchone()  # noqa: S608
            return job_of(row), True

    def find_by_key(self, owner: str, key: str) -> Job | None:
        """Return the job that `owner` added with the idempotency key `key`, unless it has expired."""
        with self._database.reading() as connection:
            return _select_one(connection, "owner = ? AND key = ?", owner, key)

    def reserve(self, name: str, caller: str, size_bytes: int, *, is_job: bool = False) -> int:
        """Reserve disk space for a transfer, before it begins, and return the space that the caller may use.

        Raises the errors of `add`; those about the number of jobs where the transfer is one.
        """
        with self._database.writing() as connection:
            if is_job:
                self._check_number(connection, caller)
            return self.space.reserve(connection, name, caller, size_bytes)

    def end_reservation(self, name: str) -> None:
        """End the reservation of a transfer."""
        with self._database.writing() as connection:
            self.space.end(connection, name)

    def find(self, job_id: str, *, owner: str | None) -> Job | None:
        """Return a job of `owner`, or of any owner for None."""
        with self._database.reading() as connection:
            job = _select_one(connection, "id = ?", job_id)
        return job if job is not None and owner in (None, job.owner) else None

    def page(
        self,
        *,
        owner: str | None,
        kind: str | None = None,
        status: JobStatus | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Return jobs of `owner`, or of all owners for None, newest first, after the (created, id) of `before`."""
        filters = {"owner": owner, "kind": kind, "status": status}
        conditions = [f"{name} = :{name}" for name, value in filters.items() if value is not None]
        if before is not None:
            conditions.append("(created, id) < (:created, :id)")
        created, job_id = before or (0.0, "")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = f"SELECT {COLUMNS} FROM jobs {where} ORDER BY created DESC, id DESC LIMIT :limit"  # noqa: S608
        values = filters | {"created": created, "id": job_id, "limit": limit}
        with self._database.reading() as connection:
            return [job_of(row) for row in connection.execute(query, values)]

    def cancel(self, job_id: str) -> Job | None:
        """Cancel an active job, and return the job as it is then. Its worker stops at its next update."""
        now = self._clock()
        with self._database.writing() as connection:
            connection.execute(
                f"UPDATE jobs SET status = 'cancelled', finished = ?, expires = ?, token = NULL, reserved_bytes = 0 "  # noqa: S608
                f"WHERE id = ? AND {_ACTIVE}",
                (now, now + self.limits.ttl_s, job_id),
            )
            return _select_one(connection, "id = ?", job_id)

    def delete(self, job_id: str) -> None:
        """Delete the record of a job. The caller removes its files."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def segments(self, job_id: str) -> list[tuple[str, int]]:
        """Return the segments of a result in order: the token of the lease that wrote it, and its valid size."""
        query = "SELECT token, size_bytes FROM segments WHERE job = ? ORDER BY position"
        with self._database.reading() as connection:
            return [(str(token), int(size)) for token, size in connection.execute(query, (job_id,))]

    def expire(self) -> list[Job]:
        """Mark finished jobs as expired after their time, and return them. Delete records that expired earlier."""
        now = self._clock()
        with self._database.writing() as connection:
            self._follow_clock(connection, now)
            connection.execute("DELETE FROM jobs WHERE status = 'expired' AND expires <= ?", (now - self.limits.ttl_s,))
            expired = connection.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE status != 'expired' AND expires <= ?",  # noqa: S608
                (now,),
            ).fetchall()
            connection.execute(
                "UPDATE jobs SET status = 'expired', key = NULL, size_bytes = 0, result_bytes = 0, reserved_bytes = 0 "
                "WHERE expires <= ?",
                (now,),
            )
            connection.execute("DELETE FROM segments WHERE job IN (SELECT id FROM jobs WHERE status = 'expired')")
        return [job_of(row) for row in expired]

    def _follow_clock(self, connection: sqlite3.Connection, now: float) -> None:
        """Move the ends of retention by as much as the clock was set since the last call, so that none is lost."""
        boot_time = self.space.clock()
        last = connection.execute("SELECT time, boot_time FROM clock").fetchone()
        set_by_s = now - last[0] - (boot_time - last[1]) if last is not None and last[1] <= boot_time else 0.0
        if abs(set_by_s) > _CLOCK_S:
            log.warning("the clock was set by %.0f s; the results of jobs expire at their new times", set_by_s)
            connection.execute("UPDATE jobs SET expires = expires + ?", (set_by_s,))
        connection.execute("DELETE FROM clock")
        connection.execute("INSERT INTO clock (time, boot_time) VALUES (?, ?)", (now, boot_time))

    def with_files(self) -> set[str]:
        """Return the ids of all jobs whose files are needed."""
        with self._database.reading() as connection:
            return {str(row[0]) for row in connection.execute("SELECT id FROM jobs WHERE status != 'expired'")}

    def counts(self) -> JobCounts:
        """Return the number of jobs by kind and status."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT kind, status, COUNT(*) FROM jobs GROUP BY kind, status").fetchall()
            (oldest,) = connection.execute("SELECT MIN(created) FROM jobs WHERE status = 'queued'").fetchone()
        return JobCounts({(kind, status): int(number) for kind, status, number in rows}, oldest)

    def _check_number(self, connection: sqlite3.Connection, caller: str) -> None:
        query = "SELECT COUNT(*) FROM jobs WHERE caller = ? AND status != 'expired'"
        (own,) = connection.execute(query, (caller,)).fetchone()
        if own >= self.limits.max_per_caller:
            raise TooManyJobs(f"{own} jobs of this caller are stored already; delete some, or wait until some expire")


def insert(connection: sqlite3.Connection, new: NewJob, created: float) -> int:
    """Add the record of a queued job unless there is one of that id or key, and return the number of new records."""
    return connection.execute(
        "INSERT OR IGNORE INTO jobs (id, kind, owner, status, total, created, options, models, fingerprint, key, "
        "size_bytes, caller, reserved_bytes) VALUES (?, ?, ?, 'queued', ?, ?, ?, '[]', ?, ?, ?, ?, ?)",
        (
            new.id, new.kind, new.owner, new.total, created, orjson.dumps(dict(new.options)), new.fingerprint,
            new.key, new.size_bytes, new.caller, new.reserved_bytes,
        ),
    ).rowcount  # fmt: skip


def restore(files: JobFiles, clock: Callable[[], float] = time.time) -> Restore:
    """Return the function that adds the jobs in `files` to a database that lost them. Their results start again."""

    def restore_jobs(connection: sqlite3.Connection) -> int:
        restored = 0
        for new in files.records():
            if insert(connection, new, clock()):
                restored += 1
                files.remove_results(new.id)
        return restored

    return restore_jobs


def _select_one(connection: sqlite3.Connection, condition: str, *values: str) -> Job | None:
    """Return the only job that meets `condition`."""
    row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE {condition}", values).fetchone()  # noqa: S608
    return job_of(row) if row else None
