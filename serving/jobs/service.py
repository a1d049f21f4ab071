"""The job service: submit, find, list, cancel and delete jobs, and read their results.

A job that was accepted is durable: its items are on the disk, and its record is in the database.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import orjson

from models.errors import NotKnown
from serving.concurrency import ThreadPool
from serving.context import current_caller
from serving.errors.exceptions import JobGone, JobNotDone, JobsUnavailable, KeyReused
from serving.jobs.decoding.sandbox import Sandbox
from serving.jobs.decoding.task import UPLOAD, DecodeLimits, DecodeResult, DecodeTask
from serving.jobs.export import Export, export_in_child
from serving.jobs.kind import JobKind
from serving.jobs.metrics import job_metrics
from serving.jobs.schemas import ResultFormat
from serving.jobs.storage.files import JobFiles, segment_path
from serving.jobs.storage.record import JOB_ID, Job, JobStatus, NewJob
from serving.jobs.storage.spool import spool
from serving.jobs.storage.store import JobStore
from serving.shared_limit import SharedLimit, SharedThreads

log = logging.getLogger("makunouchi.jobs")
R = TypeVar("R")
# The files of a result, and how much of each is valid.
Segments = tuple[tuple[Path, int], ...]

MAX_SUBMISSIONS = 8
DECODE_THREADS = 2
MAX_EXPORTS = 4
# Space for the footer of a Parquet file.
EXPORT_BYTES = 1 << 20
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a job. `source` is a folder of this machine in place of a body; `key` is the idempotency key.

    `declared_bytes` is the size of the body, or None where it is not known before the end.
    """

    kind: JobKind
    owner: str
    content_type: str = ""
    options: Mapping[str, Any] | None = None  # Any: JSON
    declared_bytes: int | None = 0
    key: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The size and the content of a result. `close` is called when it was sent, or is not needed."""

    size_bytes: int
    chunks: AsyncIterator[bytes]
    close: Callable[[], None] = lambda: None


class JobService:
    """The operations on jobs of `kinds`. Workers process them: `on_new` is called for each new job."""

    def __init__(
        self,
        store: JobStore,
        folders: JobFiles,
        threads: ThreadPool,
        kinds: Mapping[str, JobKind],
        *,
        limits: DecodeLimits,
        max_upload_bytes: int,
        roots: tuple[str, ...] = (),
        on_new: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.kinds = kinds
        self.max_upload_bytes = max_upload_bytes
        self.roots = roots
        self._folders = folders
        self._threads = threads
        self._submissions = SharedLimit(MAX_SUBMISSIONS, name="uploads of jobs")
        self._decoding = SharedThreads(DECODE_THREADS, name="threads that decode jobs")
        self._exporting = SharedThreads(MAX_EXPORTS, name="exports of results")
        self._sandbox = Sandbox(["serving.jobs.export", *(kind.decoder.partition(":")[0] for kind in kinds.values())])
        self._limits = limits
        self._on_new = on_new

    def close(self) -> None:
        """End the child processes."""
        self._sandbox.close()

    async def submit(self, submission: Submission, body: AsyncIterator[bytes]) -> Job:
        """Store a job, and return it; or return the earlier job with the same idempotency key.

        Raises InputError for a body that cannot be read, KeyReused, TooManyJobs, LimitReached, CallerLimitReached,
        JobsUnavailable.
        """
        job_id = secrets.token_hex(16)
        is_new = False
        with self._submissions.hold():
            try:
                job, is_new = await self._store(submission, body, job_id)
            except OSError as error:
                raise JobsUnavailable(f"the folder of the jobs: {error.strerror}") from error
            finally:
                await self._threads.run(self._end_submission, (job_id, is_new))
        if is_new:
            log.info("job %s: accepted, %s, %d items", job.id, job.kind, job.total)
            self._on_new()
        return job

    def _end_submission(self, outcome: tuple[str, bool]) -> None:
        job_id, is_new = outcome
        if is_new:
            self._folders.unlock(job_id)
            return
        self._folders.remove(job_id)
        self._end_reservation(job_id)

    def _end_reservation(self, name: str) -> None:
        # Where the database cannot be used now, the reservation ends after its time limit.
        with contextlib.suppress(JobsUnavailable):
            self.store.end_reservation(name)

    async def _store(self, submission: Submission, body: AsyncIterator[bytes], job_id: str) -> tuple[Job, bool]:
        owner, key, kind, caller = submission.owner, submission.key, submission.kind, current_caller()
        earlier = await self._call(lambda: key is not None and self.store.find_by_key(owner, key))
        if not earlier:
            # The upload and its items are on the disk at the same time.
            declared_bytes = submission.declared_bytes
            needed_bytes = 2 * (self.max_upload_bytes if declared_bytes is None else declared_bytes)
            await self._call(lambda: self.store.reserve(job_id, caller, needed_bytes, is_job=True))
        folder = await self._call(lambda: self._folders.make(job_id))
        limits = self._limits
        if submission.source is None:
            size = await spool(body, folder / UPLOAD, self._threads, max_bytes=self.max_upload_bytes)
            limits = limits.for_upload(size)
        decoded = await self._decoding.run(lambda: self._sandbox.decode(self._task(submission, folder, limits)))
        options = {**(submission.options or {}), **decoded.options}
        fingerprint = _fingerprint(kind.name, options, decoded)
        new = NewJob(
            job_id,
            kind.name,
            owner,
            decoded.total,
            decoded.size_bytes,
            options,
            fingerprint,
            key,
            caller,
            reserved_bytes=decoded.total * kind.line_bytes(options),
        )
        await self._call(lambda: self._folders.settle(new))
        job, is_new = await self._call(lambda: self.store.add(new))
        if job.fingerprint != fingerprint:
            raise KeyReused("this Idempotency-Key was used for another job")
        return job, is_new

    def _task(self, submission: Submission, folder: Path, limits: DecodeLimits) -> DecodeTask:
        return DecodeTask(
            submission.kind.decoder,
            submission.content_type,
            folder,
            limits,
            options=dict(submission.options or {}),
            columns=submission.kind.columns(),
            source=submission.source,
            roots=self.roots,
        )

    async def find(self, job_id: str, *, owner: str | None) -> Job:
        """Return a job of `owner`, or of any owner for None. Raises NotKnown."""
        job = None
        if JOB_ID.fullmatch(job_id):
            job = await self._call(lambda: self.store.find(job_id, owner=owner))
        if job is None:
            raise NotKnown(f"there is no job '{job_id[:100]}'", location=("path", "job_id"))
        return job

    async def page(
        self,
        *,
        owner: str | None,
        kind: str | None,
        status: JobStatus | None,
        before: tuple[float, str] | None,
        limit: int,
    ) -> list[Job]:
        """Return jobs of `owner`, or of all owners for None, newest first."""
        return await self._call(
            lambda: self.store.page(owner=owner, kind=kind, status=status, before=before, limit=limit)
        )

    async def cancel(self, job_id: str, *, owner: str | None) -> Job:
        """Cancel a job unless it is over, and return it. Raises NotKnown."""
        before = await self.find(job_id, owner=owner)
        if before.is_active:
            await self._call(lambda: self._folders.forget(job_id))
        after = await self._call(lambda: self.store.cancel(job_id))
        if before.is_active and after is not None and after.status == "cancelled":
            job_metrics().count_end(after.kind, "cancelled")
            log.info("job %s: cancelled at %d of %d", after.id, after.done, after.total)
        return after or before

    async def delete(self, job_id: str, *, owner: str | None) -> None:
        """Delete a job and its result. An active job is cancelled first. Raises NotKnown."""
        await self.cancel(job_id, owner=owner)
        await self._call(lambda: self._folders.forget(job_id))
        await self._call(lambda: self.store.delete(job_id))
        await self._call(lambda: self._folders.remove(job_id))
        log.info("job %s: deleted", job_id)

    async def result(
        self, job_id: str, format_: ResultFormat, *, owner: str | None, has_formulas: bool = False
    ) -> Result:
        """Return the result of a job that is over. A job that was cancelled or failed has a partial result.

        In CSV, text that a spreadsheet would run as a formula is escaped unless it `has_formulas`.

        Raises NotKnown, JobNotDone, JobGone, JobsUnavailable.
        """
        job = await self.find(job_id, owner=owner)
        if job.is_active:
            raise JobNotDone(f"the job is {job.status}, at {job.done} of {job.total} items; there is no result yet")
        if job.status == "expired":
            raise JobGone("the result of the job has expired; submit it again")
        folder = self._folders.of(job_id)
        segments = await self._call(lambda: self.store.segments(job_id))
        files = tuple((segment_path(folder, token), size) for token, size in segments if size)
        await self._call(lambda: _check_sizes(files))
        size_bytes = sum(size for _, size in files)
        if format_ == "ndjson":
            return Result(size_bytes, self._read(files))
        return await self._export(job, files, size_bytes, format_, has_formulas=has_formulas)

    async def _export(
        self,
        job: Job,
        files: Segments,
        size_bytes: int,
        format_: Literal["csv", "parquet"],
        *,
        has_formulas: bool,
    ) -> Result:
        """Return the result in another format, from a temporary file that counts as used disk space."""
        caller, name = current_caller(), secrets.token_hex(16)
        kind = self.kinds.get(job.kind)
        labels, columns = ((), None) if kind is None else (kind.item_labels, kind.export_columns)

        def export() -> IO[bytes]:
            room = self.store.reserve(name, caller, size_bytes + EXPORT_BYTES)
            try:
                wanted = Export(files, format_, room, labels, columns, has_formulas=has_formulas)
                return export_in_child(self._sandbox, wanted, self._folders.root)
            except BaseException:
                self._end_reservation(name)
                raise

        def close(stream: IO[bytes]) -> None:
            stream.close()
            self._threads.run(self._end_reservation, name)

        stream = await self._exporting.run(export, discard=close)
        exported_bytes = os.fstat(stream.fileno()).st_size
        return Result(exported_bytes, self._chunks(stream, exported_bytes), lambda: close(stream))

    async def _read(self, files: Segments) -> AsyncIterator[bytes]:
        for path, size_bytes in files:
            stream = await self._call(lambda path=path: path.open("rb"))  # type: ignore[misc]  # bound at once
            async for chunk in self._chunks(stream, size_bytes):
                yield chunk

    async def _chunks(self, stream: IO[bytes], size_bytes: int) -> AsyncIterator[bytes]:
        with stream:
            while size_bytes > 0:
                chunk = await self._threads.run(stream.read, min(CHUNK_BYTES, size_bytes))
                if not chunk:
                    raise JobsUnavailable("a file of the result is truncated")
                size_bytes -= len(chunk)
                yield chunk

    async def _call(self, function: Callable[[], R]) -> R:
        return await self._threads.run(lambda _: function(), None)


def _check_sizes(files: Segments) -> None:
    """Raise JobsUnavailable where a file of a result is missing or truncated."""
    for path, size_bytes in files:
        if not path.is_file() or path.stat().st_size < size_bytes:
            raise JobsUnavailable("a file of the result is missing or truncated")


def _fingerprint(kind: str, options: Mapping[str, Any], decoded: DecodeResult) -> str:  # Any: JSON
    content = orjson.dumps([kind, options, decoded.total, decoded.sha256], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()
