"""Workers: process jobs batch by batch, in turns, with checkpoints, at a lower priority than requests.

Outcomes since the last checkpoint are lost when the process ends. The next worker that acquires the job processes those
items again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from models.errors import DeadlineExceeded, text_of
from serving.concurrency import ThreadPool
from serving.context import VersionRequest, set_caller, set_priority, set_request_id, set_version_request
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.kind import JobKind
from serving.jobs.metrics import job_metrics
from serving.jobs.outcomes import TRANSIENT, Outcome, error_outcome
from serving.jobs.progress import Progress
from serving.jobs.storage.files import JobFiles, SegmentWriter
from serving.jobs.storage.item_file import JobItem, read_items
from serving.jobs.storage.leases import WAIT_S, Lease, LeaseStore
from serving.jobs.storage.record import Job, JobStatus

log = logging.getLogger("makunouchi.jobs")
R = TypeVar("R")

# A killed process loses the outcomes of at most this time.
CHECKPOINT_S: Final = 0.5
# How long a worker processes one job while others wait.
TURN_S: Final = 5.0
# While requests are in flight, a worker rests for the time of its last batch multiplied by this factor.
REST_FACTOR: Final = 3.0
MAX_REST_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0
# A batch of items is validated without a pause. Images are decoded in threads.
MAX_BATCH_BYTES: Final = 4 << 20
# A batch that missed its deadline this often fails.
MAX_TIMEOUTS: Final = 3
_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


class Worker:
    """A worker processes one job at a time until it is cancelled. It starts no batch once `is_stopping` is true."""

    def __init__(
        self,
        leases: LeaseStore,
        folders: JobFiles,
        kinds: Mapping[str, JobKind],
        threads: ThreadPool,
        *,
        poll_s: float = 1.0,
        in_flight: Callable[[], int] = lambda: 0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._leases = leases
        self._folders = folders
        self._kinds = kinds
        self._threads = threads
        self._poll_s = poll_s
        self._in_flight = in_flight
        self._is_stopping = is_stopping
        self._wake: asyncio.Event | None = None
        # The ids of jobs that wait for disk space.
        self._waiting: set[str] = set()

    def wake(self) -> None:
        """Look for a new job now. Call this in the worker's event loop."""
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Process jobs until cancelled. On cancellation the current job is released."""
        self._wake = asyncio.Event()
        last_error = ""
        while True:
            lease: Lease | None = None
            if not self._is_stopping():
                try:
                    lease = await self._call(self._leases.acquire)
                    if lease is not None:
                        await self._take_turn(lease)
                    last_error = ""
                except JobsUnavailable as error:
                    # One log line per error, not one per attempt.
                    if last_error != str(error):
                        log.error("jobs wait: %s", error)
                    last_error, lease = str(error), None
                except Exception:
                    log.exception("the turn of a job failed")
            if lease is None:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._poll_s)

    async def _take_turn(self, lease: Lease) -> None:
        """Process a job while its lease is renewed."""
        set_request_id(f"job-{lease.job.id}")
        owner = lease.job.owner
        set_caller(lambda: f"key:{owner}" if owner else "")
        set_priority("batch")
        # Where versions split the traffic, a job gets the version that the requests of its owner get.
        set_version_request(VersionRequest(sticky_key=lambda: f"key:{owner}") if owner else VersionRequest())
        processing = asyncio.create_task(self._process(lease))
        try:
            while not processing.done():
                await asyncio.wait({processing}, timeout=self._leases.lease_s / 3)
                if not processing.done() and not await self._call(lambda: self._leases.renew(lease)):
                    log.info("job %s: the lease is lost", lease.job.id)
                    return
            await processing
        except asyncio.CancelledError:
            await _cancel(processing)
            with contextlib.suppress(JobsUnavailable):
                await self._call(lambda: self._leases.release(lease))
            raise
        finally:
            await _cancel(processing)

    async def _process(self, lease: Lease) -> None:
        job = lease.job
        kind = self._kinds.get(job.kind)
        if kind is None:
            await self._finish(lease, "failed", f"this service has no jobs of the kind '{job.kind}' any more")
            return
        if await self._call(lambda: self._leases.has_used_attempts(lease)):
            await self._finish(lease, "failed", "the service ended repeatedly while it processed this job")
            return
        if not job.done:
            log.info("job %s: %s, %d items", job.id, job.kind, job.total)
        else:
            log.info("job %s: continues at %d of %d", job.id, job.done, job.total)
        try:
            segment = await self._call(lambda: SegmentWriter(self._folders.of(job.id), lease.token))
            try:
                await self._process_batches(lease, kind, segment)
            finally:
                # In the thread, after a write that is still running there; also when this task is cancelled again.
                await asyncio.shield(self._threads.run(lambda _: segment.close(), None))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno in _NO_SPACE:
                await self._wait_for_space(lease)
                return
            log.error("job %s: its files cannot be used: %s", job.id, text_of(error))
            await self._finish(lease, "failed", "its files cannot be read or written")

    async def _process_batches(self, lease: Lease, kind: JobKind, segment: SegmentWriter) -> None:
        """Process batches until the job is done, its lease is lost, or its turn is over."""
        job, progress, batch_items = lease.job, Progress.of(lease.job), kind.processor.batch_items
        folder = self._folders.of(job.id)
        started_at = saved_at = time.monotonic()
        while progress.done < job.total:
            if self._is_stopping():
                await self._pause(lease, segment, progress)
                return
            start = progress.done
            stop = start + batch_items
            items = await self._call(partial(read_items, folder, start, stop, max_bytes=MAX_BATCH_BYTES))
            if not items:
                raise ValueError("there are fewer items than the job has")
            batch_at = time.monotonic()
            progress.add(items, await self._outcomes(kind, items, job), kind.item_labels)
            now = time.monotonic()
            if now - saved_at >= CHECKPOINT_S:
                if not await self._checkpoint(lease, segment, progress):
                    return
                saved_at = now
                if now - started_at >= TURN_S and await self._call(self._leases.has_waiting_jobs):
                    await self._pause(lease, segment, progress)
                    return
            await self._rest(now - batch_at)
        if await self._checkpoint(lease, segment, progress):
            await self._finish(lease, "succeeded", "", progress)

    async def _outcomes(self, kind: JobKind, items: Sequence[JobItem], job: Job) -> list[Outcome]:
        """Return the outcomes of a batch. After a transient error it is tried again, with growing pauses."""
        pause_s, timeouts = FIRST_PAUSE_S, 0
        while True:
            try:
                return await kind.processor.process(items, job.options)
            except TRANSIENT as error:
                timeouts += isinstance(error, DeadlineExceeded)
                if timeouts == MAX_TIMEOUTS:
                    return [error_outcome(error) for _ in items]
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _rest(self, batch_s: float) -> None:
        rest_s = min(MAX_REST_S, REST_FACTOR * batch_s) if self._in_flight() else 0.0
        await asyncio.sleep(rest_s)

    async def _checkpoint(self, lease: Lease, segment: SegmentWriter, progress: Progress) -> bool:
        """Make the outcomes durable. Returns False when the lease is lost, and when the job waits for disk space."""
        lines = progress.take_lines()

        def save() -> bool:
            segment.write(lines)
            return self._leases.checkpoint(
                lease,
                done=progress.done,
                failed=progress.failed,
                models=progress.model_usage(),
                segment_bytes=segment.size_bytes,
            )

        if not await self._call(lambda: self._leases.has_room(lease, len(lines))):
            await self._wait_for_space(lease)
            return False
        if not await self._call(save):
            return False
        self._waiting.discard(lease.job.id)
        done, failed = progress.mark_saved()
        job_metrics().count_items(lease.job.kind, done=done, failed=failed)
        return True

    async def _wait_for_space(self, lease: Lease) -> None:
        """Give the job back for some time. A job that was accepted does not fail because the disk is full."""
        if lease.job.id not in self._waiting:
            # One log line per wait, not one per attempt.
            log.warning("job %s: waits for disk space; delete jobs or raise the limit", lease.job.id)
            self._waiting.add(lease.job.id)
        await self._call(lambda: self._leases.release(lease, wait_s=WAIT_S))

    async def _pause(self, lease: Lease, segment: SegmentWriter, progress: Progress) -> None:
        if not progress.lines or await self._checkpoint(lease, segment, progress):
            await self._call(lambda: self._leases.release(lease))

    async def _finish(self, lease: Lease, status: JobStatus, fault: str, progress: Progress | None = None) -> None:
        if await self._call(lambda: self._leases.finish(lease, status, fault=fault)):
            progress = progress or Progress.of(lease.job)
            job_metrics().count_end(lease.job.kind, status)
            log.info("job %s: %s, %d items, %d of them failed", lease.job.id, status, progress.done, progress.failed)

    async def _call(self, function: Callable[[], R]) -> R:
        return await self._threads.run(lambda _: function(), None)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # raised where the task is awaited
