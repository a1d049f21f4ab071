"""Jobs as their callers see them: added, found, listed, cancelled, deleted, expired. Knows rows, no files.

Every method may block, and raises JobsUnavailable when the database cannot be used.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from serving.errors.exceptions import JobsUnavailable, TooManyJobs
from serving.jobs.storage.database import COLUMNS, Database, job_of
from serving.jobs.storage.record import Job, JobKind, JobStatus, NewJob

_ACTIVE = "status IN ('queued', 'running')"


@dataclass(frozen=True, slots=True)
class JobLimits:
    """How many jobs a caller may have, how many bytes all jobs may take, how long a finished one is kept.

    What is left of an expired job, that there was one, is kept for as long again.
    """

    max_per_caller: int = 100
    max_disk_bytes: int = 8 << 30
    ttl_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs there are by kind and status, and since when the oldest one waits, in Unix seconds."""

    jobs: dict[tuple[JobKind, JobStatus], int]
    waiting_since: float | None


class JobStore:
    """The jobs in one database."""

    def __init__(self, database: Database, limits: JobLimits, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self.limits = limits
        self._clock = clock

    def add(self, new: NewJob) -> tuple[Job, bool]:
        """Keep a job, durably; or the one that the same caller added under the same key, and False.

        Raises TooManyJobs, and JobsUnavailable when all jobs together would take too much.
        """
        with self._database.writing() as connection:
            if new.key is not None:
                known = _found(connection, "owner = ? AND key = ?", new.owner, new.key)
                if known is not None:
                    return known, False
            self._check_room(connection, new.owner, new.size_bytes)
            connection.execute(
                "INSERT INTO jobs (id, kind, owner, status, total, created, options, models, fingerprint, key, "
                "size_bytes) VALUES (?, ?, ?, 'queued', ?, ?, ?, '[]', ?, ?, ?)",
                (
                    new.id, new.kind, new.owner, new.total, self._clock(), orjson.dumps(dict(new.options)),
                    new.fingerprint, new.key, new.size_bytes,
                ),
            )  # fmt: skip
            row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (new.id,)).fetchone()  # noqa: S608
            return job_of(row), True

    def keyed(self, owner: str, key: str) -> Job | None:
        """The job that `owner` added under `key`, unless it has expired."""
        with self._database.reading() as connection:
            return _found(connection, "owner = ? AND key = ?", owner, key)

    def check_room(self, owner: str, size_bytes: int) -> None:
        """Raise what `add` would raise for so many bytes, before they are read."""
        with self._database.reading() as connection:
            self._check_room(connection, owner, size_bytes)

    def find(self, job_id: str, *, owner: str | None) -> Job | None:
        """One job; of `owner`, or of anybody for None."""
        with self._database.reading() as connection:
            job = _found(connection, "id = ?", job_id)
        return job if job is not None and owner in (None, job.owner) else None

    def page(
        self,
        *,
        owner: str | None,
        kind: JobKind | None = None,
        status: JobStatus | None = None,
        before: tuple[float, str] | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """Jobs of `owner`, or of everybody for None, newest first, those after `before`: time made, and id."""
        asked = {"owner": owner, "kind": kind, "status": status}
        where = [f"{name} = :{name}" for name, value in asked.items() if value is not None]
        if before is not None:
            where.append("(created, id) < (:created, :id)")
        created, job_id = before or (0.0, "")
        condition = f"WHERE {' AND '.join(where)}" if where else ""
        query = f"SELECT {COLUMNS} FROM jobs {condition} ORDER BY created DESC, id DESC LIMIT :limit"  # noqa: S608
        values = asked | {"created": created, "id": job_id, "limit": limit}
        with self._database.reading() as connection:
            return [job_of(row) for row in connection.execute(query, values)]

    def cancel(self, job_id: str) -> Job | None:
        """End an active job; whoever works on it finds out at its next step. Gives the job as it is then."""
        now = self._clock()
        with self._database.writing() as connection:
            connection.execute(
                f"UPDATE jobs SET status = 'cancelled', finished = ?, expires = ?, token = NULL "  # noqa: S608
                f"WHERE id = ? AND {_ACTIVE}",
                (now, now + self.limits.ttl_s, job_id),
            )
            return _found(connection, "id = ?", job_id)

    def delete(self, job_id: str) -> None:
        """Forget a job. Its files are the caller's to remove."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def segments(self, job_id: str) -> list[tuple[str, int]]:
        """The parts of a job's result in order: the lease that wrote each, and how many bytes of it count."""
        query = "SELECT token, size_bytes FROM segments WHERE job = ? ORDER BY position"
        with self._database.reading() as connection:
            return [(str(token), int(size)) for token, size in connection.execute(query, (job_id,))]

    def expire(self) -> list[Job]:
        """Mark the finished jobs whose time is over, forget those marked long ago. Gives those marked now."""
        now = self._clock()
        with self._database.writing() as connection:
            connection.execute("DELETE FROM jobs WHERE status = 'expired' AND expires <= ?", (now - self.limits.ttl_s,))
            over = connection.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE status != 'expired' AND expires <= ?",  # noqa: S608
                (now,),
            ).fetchall()
            connection.execute(
                "UPDATE jobs SET status = 'expired', key = NULL, size_bytes = 0, result_bytes = 0 WHERE expires <= ?",
                (now,),
            )
            connection.execute("DELETE FROM segments WHERE job IN (SELECT id FROM jobs WHERE status = 'expired')")
        return [job_of(row) for row in over]

    def with_files(self) -> set[str]:
        """The ids of all jobs whose files are needed."""
        with self._database.reading() as connection:
            return {str(row[0]) for row in connection.execute("SELECT id FROM jobs WHERE status != 'expired'")}

    def counts(self) -> JobCounts:
        """How many there are."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT kind, status, COUNT(*) FROM jobs GROUP BY kind, status").fetchall()
            (since,) = connection.execute("SELECT MIN(created) FROM jobs WHERE status = 'queued'").fetchone()
        return JobCounts({(kind, status): int(number) for kind, status, number in rows}, since)

    def _check_room(self, connection: sqlite3.Connection, owner: str, size_bytes: int) -> None:
        own, used = connection.execute(
            "SELECT COUNT(*) FILTER (WHERE owner = ?), COALESCE(SUM(size_bytes + result_bytes), 0) FROM jobs "
            "WHERE status != 'expired'",
            (owner,),
        ).fetchone()
        if own >= self.limits.max_per_caller:
            raise TooManyJobs(f"{own} jobs are kept for this caller already; delete some, or wait until some expire")
        if used + size_bytes > self.limits.max_disk_bytes:
            raise JobsUnavailable(f"the jobs take {used} bytes, and may take {self.limits.max_disk_bytes}")


def _found(connection: sqlite3.Connection, condition: str, *values: str) -> Job | None:
    """The one job that `condition` is true of."""
    row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE {condition}", values).fetchone()  # noqa: S608
    return job_of(row) if row else None
