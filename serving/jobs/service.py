"""The job service: submit, find, list, cancel and delete jobs, and read their results.

A job that was accepted is durable: its items are on the disk, and its record is in the database.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from models.errors import NotKnown, Overloaded
from serving.concurrency import ThreadPool
from serving.errors.exceptions import JobGone, JobNotDone, JobsUnavailable, KeyReused
from serving.jobs.decoding.sandbox import Sandbox
from serving.jobs.decoding.task import UPLOAD, DecodeLimits, DecodeResult, DecodeTask
from serving.jobs.export import Export, export_in_child
from serving.jobs.kind import JobKind
from serving.jobs.metrics import job_metrics
from serving.jobs.schemas import ResultFormat
from serving.jobs.storage.files import JobFiles, segment_path
from serving.jobs.storage.record import JOB_ID, Job, JobStatus, NewJob
from serving.jobs.storage.spool import free_bytes, spool
from serving.jobs.storage.store import JobStore

log = logging.getLogger("makunouchi.jobs")
R = TypeVar("R")

# Free disk space that jobs leave to everything else.
RESERVE_BYTES = 64 << 20
MAX_SUBMISSIONS = 8
DECODE_THREADS = 2
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a job. `source` is a folder of this machine in place of a body; `key` is the idempotency key."""

    kind: JobKind
    owner: str
    content_type: str = ""
    options: Mapping[str, Any] | None = None  # Any: JSON
    declared_bytes: int = 0
    key: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The size and the content of a result."""

    size_bytes: int
    chunks: AsyncIterator[bytes]


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
        self._decoding = ThreadPool(DECODE_THREADS, name="job-decode")
        self._sandbox = Sandbox(["serving.jobs.export", *(kind.decoder.partition(":")[0] for kind in kinds.values())])
        self._limits = limits
        self._on_new = on_new
        self._submitting = 0

    def close(self) -> None:
        """End the child processes."""
        self._sandbox.close()

    async def submit(self, submission: Submission, body: AsyncIterator[bytes]) -> Job:
        """Store a job, and return it; or return the earlier job with the same idempotency key.

        Raises InputError for a body that cannot be read, KeyReused, TooManyJobs, Overloaded, JobsUnavailable.
        """
        if self._submitting >= MAX_SUBMISSIONS:
            raise Overloaded(f"{self._submitting} jobs are being received; try again later")
        self._submitting += 1
        job_id = secrets.token_hex(16)
        is_new = False
        try:
            job, is_new = await self._store(submission, body, job_id)
        except OSError as error:
            raise JobsUnavailable(f"the folder of the jobs: {error.strerror}") from error
        finally:
            self._submitting -= 1
            if not is_new:
                await self._threads.run(self._folders.remove, job_id)
        if is_new:
            log.info("job %s: accepted, %s, %d items", job.id, job.kind, job.total)
            self._on_new()
        return job

    async def _store(self, submission: Submission, body: AsyncIterator[bytes], job_id: str) -> tuple[Job, bool]:
        owner, key, kind = submission.owner, submission.key, submission.kind
        earlier = await self._call(lambda: key is not None and self.store.find_by_key(owner, key))
        if not earlier:
            await self._call(lambda: self.store.check_room(owner, submission.declared_bytes))
        folder = await self._call(lambda: self._folders.make(job_id))
        if await self._call(lambda: free_bytes(folder)) < RESERVE_BYTES + 2 * submission.declared_bytes:
            raise JobsUnavailable("the disk of the jobs is full")
        limits = self._limits
        if submission.source is None:
            size = await spool(body, folder / UPLOAD, self._threads, max_bytes=self.max_upload_bytes)
            limits = limits.for_upload(size)
        decoded = await self._decoding.run(self._sandbox.decode, self._task(submission, folder, limits))
        options = {**(submission.options or {}), **decoded.options}
        fingerprint = _fingerprint(kind.name, options, decoded)
        new = NewJob(job_id, kind.name, owner, decoded.total, decoded.size_bytes, options, fingerprint, key)
        await self._call(lambda: self._folders.settle(job_id))
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
        after = await self._call(lambda: self.store.cancel(job_id))
        if before.is_active and after is not None and after.status == "cancelled":
            job_metrics().count_end(after.kind, "cancelled")
            log.info("job %s: cancelled at %d of %d", after.id, after.done, after.total)
        return after or before

    async def delete(self, job_id: str, *, owner: str | None) -> None:
        """Delete a job and its result. An active job is cancelled first. Raises NotKnown."""
        await self.cancel(job_id, owner=owner)
        await self._call(lambda: self.store.delete(job_id))
        await self._call(lambda: self._folders.remove(job_id))
        log.info("job %s: deleted", job_id)

    async def result(self, job_id: str, format_: ResultFormat, *, owner: str | None) -> Result:
        """Return the result of a job that is over. A job that was cancelled or failed has a partial result.

        Raises NotKnown, JobNotDone, JobGone, JobsUnavailable.
        """
        job = await self.find(job_id, owner=owner)
        if job.is_active:
            raise JobNotDone(f"the job is {job.status}, at {job.done} of {job.total} items; there is no result yet")
        if job.status == "expired":
            raise JobGone("the result of the job has expired; submit it again")
        folder = self._folders.of(job_id)
        segments = await self._call(lambda: self.store.segments(job_id))
        files = tuple((segment_path(folder, token), size) for token, size in segments)
        if format_ == "ndjson":
            return Result(sum(size for _, size in files), self._read(files))
        target = folder / f"{secrets.token_hex(8)}.{format_}"
        kind = self.kinds.get(job.kind)
        export = Export(
            files,
            target,
            format_,
            max_bytes=self.store.limits.max_disk_bytes,
            labels=kind.item_labels if kind is not None else (),
            columns=kind.export_columns if kind is not None else None,
        )
        await self._decoding.run(partial(export_in_child, self._sandbox), export)
        size_bytes = target.stat().st_size
        return Result(size_bytes, self._read(((target, size_bytes),), is_temporary=True))

    async def _read(self, files: tuple[tuple[Path, int], ...], *, is_temporary: bool = False) -> AsyncIterator[bytes]:
        for path, size_bytes in files:
            left = size_bytes
            stream = await self._call(lambda path=path: path.open("rb"))  # type: ignore[misc]  # bound at once
            try:
                if is_temporary:
                    path.unlink()
                while left > 0:
                    chunk: bytes = await self._threads.run(stream.read, min(CHUNK_BYTES, left))
                    if not chunk:
                        raise JobsUnavailable("a file of the result is truncated")
                    left -= len(chunk)
                    yield chunk
            finally:
                stream.close()

    async def _call(self, function: Callable[[], R]) -> R:
        return await self._threads.run(lambda _: function(), None)


def _fingerprint(kind: str, options: Mapping[str, Any], decoded: DecodeResult) -> str:  # Any: JSON
    content = orjson.dumps([kind, options, decoded.total, decoded.sha256], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()
