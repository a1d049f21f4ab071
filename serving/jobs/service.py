"""Takes jobs, tells how they are, hands out their results. Knows files and rows of jobs, no HTTP.

A job that was acknowledged is durable: its items are packed on the disk, and its row is in the database.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from models.errors import InputTooLarge, NotKnown, Overloaded
from serving.concurrency import ThreadPool
from serving.errors.exceptions import JobGone, JobNotDone, JobsUnavailable, KeyReused
from serving.jobs.decoding.decode import decode, media_type
from serving.jobs.decoding.sandbox import decode_in_child
from serving.jobs.decoding.task import MULTIPART, PARQUET, UPLOAD, ColumnSpec, Decoded, DecodeLimits, DecodeTask
from serving.jobs.export import Export, export_in_child
from serving.jobs.metrics import job_metrics
from serving.jobs.schemas import ResultFormat
from serving.jobs.storage.files import JobFiles, segment_path
from serving.jobs.storage.record import JOB_ID, Job, JobKind, JobStatus, NewJob
from serving.jobs.storage.spool import free_bytes, spool
from serving.jobs.storage.store import JobStore
from serving.kinds.tabular.handler import TabularHandler

log = logging.getLogger("makunouchi.jobs")
R = TypeVar("R")

# So little is decoded sooner than a process is started, unless it unpacks to more than so much.
SMALL_BYTES = 256 << 10
SMALL_UNPACKED_BYTES = 8 << 20
# Left on the disk for everything else.
RESERVE_BYTES = 64 << 20
MAX_SUBMISSIONS = 8
DECODE_THREADS = 2
PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Submission:
    """What a client asks: `source` is a folder of this machine in place of a body; `key` names the request."""

    kind: JobKind
    owner: str
    content_type: str = ""
    options: Mapping[str, Any] | None = None  # Any: JSON
    declared_bytes: int = 0
    key: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The bytes of a result, and how many of them there are."""

    size_bytes: int
    pieces: AsyncIterator[bytes]


class JobService:
    """Everything about jobs but working on them. `on_new` is told of each new one."""

    def __init__(
        self,
        store: JobStore,
        folders: JobFiles,
        threads: ThreadPool,
        table: TabularHandler,
        *,
        limits: DecodeLimits,
        max_upload_bytes: int,
        roots: tuple[str, ...] = (),
        on_new: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.max_upload_bytes = max_upload_bytes
        self.roots = roots
        self._folders = folders
        self._threads = threads
        self._decoding = ThreadPool(DECODE_THREADS, name="job-decode")
        self._table = table
        self._limits = limits
        self._on_new = on_new
        self._submitting = 0

    async def submit(self, asked: Submission, body: AsyncIterator[bytes]) -> Job:
        """Take a job; the same one when its key was used for the same before.

        Raises InputError for what cannot be read, KeyReused, TooManyJobs, Overloaded, JobsUnavailable.
        """
        if self._submitting >= MAX_SUBMISSIONS:
            raise Overloaded(f"{self._submitting} jobs are being taken")
        self._submitting += 1
        job_id = secrets.token_hex(16)
        is_kept = False
        try:
            job, is_kept = await self._take(asked, body, job_id)
        except OSError as error:
            raise JobsUnavailable(f"the folder of the jobs: {error.strerror}") from error
        finally:
            self._submitting -= 1
            if not is_kept:
                await self._threads.run(self._folders.remove, job_id)
        if is_kept:
            log.info("job %s: taken, %s, %d items", job.id, job.kind, job.total)
            self._on_new()
        return job

    async def _take(self, asked: Submission, body: AsyncIterator[bytes], job_id: str) -> tuple[Job, bool]:
        known = await self._do(lambda: asked.key is not None and self.store.keyed(asked.owner, asked.key))
        if not known:
            await self._do(lambda: self.store.check_room(asked.owner, asked.declared_bytes))
        folder = await self._do(lambda: self._folders.make(job_id))
        if await self._do(lambda: free_bytes(folder)) < RESERVE_BYTES + 2 * asked.declared_bytes:
            raise JobsUnavailable("the disk of the jobs is full")
        size = 0
        if asked.source is None:
            size = await spool(body, folder / UPLOAD, self._threads, max_bytes=self.max_upload_bytes)
        decoded = await self._decoded(self._order(asked, folder), size)
        options = {**(asked.options or {}), **decoded.options}
        fingerprint = _fingerprint(asked.kind, options, decoded)
        new = NewJob(
            job_id, asked.kind, asked.owner, decoded.total, decoded.size_bytes, options, fingerprint, asked.key
        )
        await self._do(lambda: self._folders.settle(job_id))
        job, is_new = await self._do(lambda: self.store.add(new))
        if job.fingerprint != fingerprint:
            raise KeyReused("this Idempotency-Key was used for another job")
        return job, is_new

    def _order(self, asked: Submission, folder: Path) -> DecodeTask:
        columns: tuple[ColumnSpec, ...] = ()
        if asked.kind == "tabular":
            columns = tuple(
                ColumnSpec(column.name, column.kind, column.required, column.nullable, column.categories)
                for column in self._table.model.card.inputs
            )
        return DecodeTask(
            asked.kind,
            asked.content_type,
            folder,
            self._limits,
            columns=columns,
            id_column=(asked.options or {}).get("id_column"),
            source=asked.source,
            roots=self.roots,
        )

    async def _decoded(self, order: DecodeTask, size_bytes: int) -> Decoded:
        given = media_type(order.content_type)
        # What reads Parquet is not to be loaded here, and a form may hold a Parquet file.
        is_foreign = given == PARQUET or (given == MULTIPART and order.kind == "tabular") or order.source is not None
        if size_bytes <= SMALL_BYTES and not is_foreign:
            within = replace(
                order.limits, max_unpacked_bytes=min(SMALL_UNPACKED_BYTES, order.limits.max_unpacked_bytes)
            )
            with contextlib.suppress(InputTooLarge):
                return await self._decoding.run(decode, replace(order, limits=within))
        return await self._decoding.run(decode_in_child, order)

    async def find(self, job_id: str, *, owner: str | None) -> Job:
        """One job of `owner`, or of anybody for None. Raises NotKnown."""
        job = None
        if JOB_ID.fullmatch(job_id):
            job = await self._do(lambda: self.store.find(job_id, owner=owner))
        if job is None:
            raise NotKnown(f"there is no job '{job_id[:100]}'", location=("path", "job_id"))
        return job

    async def page(
        self,
        *,
        owner: str | None,
        kind: JobKind | None,
        status: JobStatus | None,
        before: tuple[float, str] | None,
        limit: int,
    ) -> list[Job]:
        """Jobs of `owner`, or of everybody for None, newest first."""
        return await self._do(
            lambda: self.store.page(owner=owner, kind=kind, status=status, before=before, limit=limit)
        )

    async def cancel(self, job_id: str, *, owner: str | None) -> Job:
        """End a job that is not over. Raises NotKnown."""
        before = await self.find(job_id, owner=owner)
        after = await self._do(lambda: self.store.cancel(job_id))
        if before.is_active and after is not None and after.status == "cancelled":
            job_metrics().ended(after.kind, "cancelled")
            log.info("job %s: cancelled at %d of %d", after.id, after.done, after.total)
        return after or before

    async def delete(self, job_id: str, *, owner: str | None) -> None:
        """End a job if need be, and forget it. Raises NotKnown."""
        await self.cancel(job_id, owner=owner)
        await self._do(lambda: self.store.delete(job_id))
        await self._do(lambda: self._folders.remove(job_id))
        log.info("job %s: deleted", job_id)

    async def result(self, job_id: str, format_: ResultFormat, *, owner: str | None) -> Result:
        """What was answered. Of a job that was cancelled, or failed: until then.

        Raises NotKnown, JobNotDone, JobGone, JobsUnavailable.
        """
        job = await self.find(job_id, owner=owner)
        if job.is_active:
            raise JobNotDone(f"the job is {job.status}, at {job.done} of {job.total} items; there is no result yet")
        if job.status == "expired":
            raise JobGone("the result of the job has expired; submit it again")
        folder = self._folders.of(job_id)
        segments = await self._do(lambda: self.store.segments(job_id))
        parts = tuple((segment_path(folder, token), size) for token, size in segments)
        if format_ == "ndjson":
            return Result(sum(size for _, size in parts), self._read(parts))
        target = folder / f"{secrets.token_hex(8)}.{format_}"
        export = Export(parts, target, format_, max_bytes=self.store.limits.max_disk_bytes)
        await self._decoding.run(export_in_child, export)
        return Result(target.stat().st_size, self._read(((target, target.stat().st_size),), is_last=True))

    async def _read(self, parts: tuple[tuple[Path, int], ...], *, is_last: bool = False) -> AsyncIterator[bytes]:
        for path, size_bytes in parts:
            left = size_bytes
            stream = await self._do(lambda path=path: path.open("rb"))  # type: ignore[misc]  # bound at once
            try:
                if is_last:
                    path.unlink()
                while left > 0:
                    piece: bytes = await self._threads.run(stream.read, min(PIECE_BYTES, left))
                    if not piece:
                        raise JobsUnavailable("a part of the result is cut")
                    left -= len(piece)
                    yield piece
            finally:
                stream.close()

    async def _do(self, call: Callable[[], R]) -> R:
        return await self._threads.run(lambda _: call(), None)


def _fingerprint(kind: str, options: Mapping[str, Any], decoded: Decoded) -> str:  # Any: JSON
    said = orjson.dumps([kind, options, decoded.total, decoded.sha256], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(said).hexdigest()
