"""Jobs as their workers see them: claimed for a while, kept, checkpointed, finished. Knows rows, no files.

A worker holds a job by a token that it has to show at every step. When its lease is not kept, for the process was
killed or hangs, another worker claims the job, and the old token is worth nothing: what was written under it and not
checkpointed never counts. So no item is in a result twice, and none is lost.

Every method may block, and raises JobsUnavailable when the database cannot be used.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from serving.jobs.storage.database import COLUMNS, Database, job_of, packed_models
from serving.jobs.storage.record import Answered, Job, JobStatus

# A job that was claimed so often without getting anywhere takes its worker down each time: it is given up.
MAX_FRUITLESS = 5
_FREE = "status IN ('queued', 'running') AND leased_until <= :now"


@dataclass(frozen=True, slots=True)
class Claim:
    """A job, and the token that it is held by."""

    job: Job
    token: str


class Leases:
    """Claims to the jobs in one database. Each lasts `lease_s` unless it is kept."""

    def __init__(
        self, database: Database, *, lease_s: float, ttl_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self.lease_s = lease_s
        self._ttl_s = ttl_s
        self._clock = clock

    def claim(self) -> Claim | None:
        """The job whose turn it is, of those that nobody holds: the one that had its last turn longest ago."""
        now, token = self._clock(), secrets.token_hex(8)
        with self._database.writing() as connection:
            row = connection.execute(
                f"SELECT {COLUMNS} FROM jobs WHERE {_FREE} ORDER BY turn, created, id LIMIT 1",  # noqa: S608
                {"now": now},
            ).fetchone()
            if row is None:
                return None
            job = job_of(row)
            connection.execute(
                "UPDATE jobs SET status = 'running', started = COALESCE(started, :now), token = :token, turn = :now, "
                "leased_until = :until, fruitless = fruitless + 1 WHERE id = :id",
                {"now": now, "token": token, "until": now + self.lease_s, "id": job.id},
            )
            row = connection.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", (job.id,)).fetchone()  # noqa: S608
        return Claim(job_of(row), token)

    def others_wait(self) -> bool:
        """Whether there is a job that nobody holds."""
        with self._database.reading() as connection:
            query = f"SELECT EXISTS (SELECT 1 FROM jobs WHERE {_FREE})"  # noqa: S608
            return bool(connection.execute(query, {"now": self._clock()}).fetchone()[0])

    def is_fruitless(self, claim: Claim) -> bool:
        """Whether the job was claimed again and again, and got nowhere."""
        query = "SELECT fruitless FROM jobs WHERE id = ? AND token = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, (claim.job.id, claim.token)).fetchone()
        return row is not None and int(row[0]) > MAX_FRUITLESS

    def keep(self, claim: Claim) -> bool:
        """Hold the job for another while. False when it is not held any more: cancelled, deleted, or lost."""
        return self._update(claim, "leased_until = :until", until=self._clock() + self.lease_s)

    def checkpoint(
        self, claim: Claim, *, done: int, failed: int, models: tuple[Answered, ...], segment_bytes: int
    ) -> bool:
        """So many items are answered, in so many bytes of this claim's segment. False when it is not held any more."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE jobs SET done = ?, failed = ?, models = ?, leased_until = ?, fruitless = 0 "
                "WHERE id = ? AND token = ?",
                (done, failed, packed_models(models), self._clock() + self.lease_s, claim.job.id, claim.token),
            ).rowcount
            if not changed:
                return False
            connection.execute(
                "INSERT INTO segments (job, token, position, size_bytes) "
                "VALUES (:job, :token, (SELECT COUNT(*) FROM segments WHERE job = :job), :size) "
                "ON CONFLICT (job, token) DO UPDATE SET size_bytes = :size",
                {"job": claim.job.id, "token": claim.token, "size": segment_bytes},
            )
            connection.execute(
                "UPDATE jobs SET result_bytes = (SELECT SUM(size_bytes) FROM segments WHERE job = :job) "
                "WHERE id = :job",
                {"job": claim.job.id},
            )
        return True

    def is_disk_full(self, max_disk_bytes: int) -> bool:
        """Whether all jobs together take more than so many bytes."""
        with self._database.reading() as connection:
            (used,) = connection.execute("SELECT COALESCE(SUM(size_bytes + result_bytes), 0) FROM jobs").fetchone()
        return int(used) > max_disk_bytes

    def release(self, claim: Claim) -> None:
        """Let another worker go on. A turn that was ended on purpose does not count as fruitless."""
        self._update(claim, "token = NULL, leased_until = 0, fruitless = MAX(fruitless - 1, 0)")

    def finish(self, claim: Claim, status: JobStatus, *, fault: str = "") -> bool:
        """The job is over. False when it was not held any more, and nothing has changed."""
        now = self._clock()
        return self._update(
            claim,
            "status = :status, fault = :fault, finished = :now, expires = :expires, token = NULL",
            status=status, fault=fault, now=now, expires=now + self._ttl_s,
        )  # fmt: skip

    def _update(self, claim: Claim, what: str, **values: float | str) -> bool:
        with self._database.writing() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET {what} WHERE id = :id AND token = :token",  # noqa: S608
                {"id": claim.job.id, "token": claim.token, **values},
            ).rowcount
        return bool(changed)
