"""Works on jobs in turns: a batch, another batch, now and then a checkpoint. Gives way to requests.

What was answered since the last checkpoint is lost with the process, and answered again by whoever claims the job next.
Knows items and outcomes, no models.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from models.errors import DeadlineExceeded
from serving.concurrency import ThreadPool
from serving.context import VersionRequest, set_request_id, set_version_request
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.metrics import job_metrics
from serving.jobs.outcomes import TRANSIENT, Answers, Outcome, failed
from serving.jobs.storage.files import JobFiles, SegmentWriter
from serving.jobs.storage.item_file import Item, read_items
from serving.jobs.storage.leases import Claim, Leases
from serving.jobs.storage.record import Answered, Job, JobKind, JobStatus
from serving.runners.interface import ModelRef

log = logging.getLogger("makunouchi.jobs")

# What a killed process loses at most.
CHECKPOINT_S: Final = 0.5
# How long a job is worked on while others wait.
TURN_S: Final = 5.0
# A job rests so many times as long as its last batch took while requests are being answered.
GIVE_WAY: Final = 3.0
MAX_REST_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.1
MAX_PAUSE_S: Final = 5.0
# A batch that was not answered in time so often never is.
MAX_LATE: Final = 3
_NAMES = ("id", "name", "user_id")


@dataclass(slots=True)
class _Progress:
    """How far a job is; `lines` is what is not written yet, with so many items new."""

    done: int
    failed: int
    models: Counter[ModelRef]
    lines: list[bytes] = field(default_factory=list)
    saved_done: int = 0
    saved_failed: int = 0

    @classmethod
    def of(cls, job: Job) -> _Progress:
        models = Counter({ModelRef(each.name, each.version): each.items for each in job.models})
        return cls(job.done, job.failed, models, saved_done=job.done, saved_failed=job.failed)

    def add(self, items: Sequence[Item], outcomes: Sequence[Outcome]) -> None:
        """Take what a batch got."""
        for item, outcome in zip(items, outcomes, strict=True):
            self.lines.append(_line(self.done, item, outcome))
            self.done += 1
            self.failed += not outcome.is_ok
            if outcome.model is not None:
                self.models[outcome.model] += 1

    def answered(self) -> tuple[Answered, ...]:
        """The models as they are stored."""
        return tuple(Answered(model.name, model.version, items) for model, items in self.models.items())


class Worker:
    """Works on one job at a time, for ever. `is_stopping` tells that no batch is to be begun any more."""

    def __init__(
        self,
        leases: Leases,
        folders: JobFiles,
        answers: Mapping[JobKind, Answers],
        threads: ThreadPool,
        *,
        max_disk_bytes: int,
        poll_s: float = 1.0,
        in_flight: Callable[[], int] = lambda: 0,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._leases = leases
        self._folders = folders
        self._answers = answers
        self._threads = threads
        self._max_disk_bytes = max_disk_bytes
        self._poll_s = poll_s
        self._in_flight = in_flight
        self._is_stopping = is_stopping
        self._wake: asyncio.Event | None = None

    def wake(self) -> None:
        """There is a new job. Call in the worker's event loop."""
        if self._wake is not None:
            self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; the job at hand is let go then."""
        self._wake = asyncio.Event()
        said = ""
        while True:
            claim: Claim | None = None
            if not self._is_stopping():
                try:
                    claim = await self._do(lambda: self._leases.claim())
                    if claim is not None:
                        await self._turn(claim)
                    said = ""
                except JobsUnavailable as error:
                    # Looked for every second: said once, and again when it changes or comes back.
                    if said != str(error):
                        log.error("jobs wait: %s", error)
                    said, claim = str(error), None
                except Exception:
                    log.exception("a turn of a job broke off")
            if claim is None:
                self._wake.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._poll_s)

    async def _turn(self, claim: Claim) -> None:
        """Work on a job while its lease is kept."""
        set_request_id(f"job-{claim.job.id}")
        owner = claim.job.owner
        # Where versions share the traffic a job meets the one that its owner's requests meet; without a name, one.
        set_version_request(VersionRequest(sticky_key=lambda: f"key:{owner}") if owner else VersionRequest())
        work = asyncio.create_task(self._work(claim))
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=self._leases.lease_s / 3)
                if not work.done() and not await self._do(lambda: self._leases.keep(claim)):
                    log.info("job %s: not held any more", claim.job.id)
                    return
            await work
        except asyncio.CancelledError:
            await _ended(work)
            with contextlib.suppress(JobsUnavailable):
                await self._do(lambda: self._leases.release(claim))
            raise
        finally:
            await _ended(work)

    async def _work(self, claim: Claim) -> None:
        job = claim.job
        if await self._do(lambda: self._leases.is_fruitless(claim)):
            await self._finish(claim, "failed", "the service ended again and again while it worked on this job")
            return
        if not job.done:
            log.info("job %s: %s, %d items", job.id, job.kind, job.total)
        else:
            log.info("job %s: goes on at %d of %d", job.id, job.done, job.total)
        try:
            segment = await self._do(lambda: SegmentWriter(self._folders.of(job.id), claim.token))
            try:
                await self._batches(claim, segment)
            finally:
                segment.close()
        except (OSError, ValueError) as error:
            log.error("job %s: its files cannot be used: %s", job.id, error)
            await self._finish(claim, "failed", "its files cannot be read or written")

    async def _batches(self, claim: Claim, segment: SegmentWriter) -> None:
        """Batch after batch, until the job is done, lost, or has to wait for its next turn."""
        job, answers, progress = claim.job, self._answers[claim.job.kind], _Progress.of(claim.job)
        folder = self._folders.of(job.id)
        began = saved = time.monotonic()
        while progress.done < job.total:
            if self._is_stopping():
                await self._pause(claim, segment, progress)
                return
            start = progress.done
            items = await self._do(lambda start=start: read_items(folder, start, start + answers.batch_items))  # type: ignore[misc]
            if not items:
                raise ValueError("there are fewer items than were counted")
            asked = time.monotonic()
            progress.add(items, await self._answered(answers, items, job))
            now = time.monotonic()
            if now - saved >= CHECKPOINT_S:
                if not await self._checkpoint(claim, segment, progress):
                    return
                saved = now
                if now - began >= TURN_S and await self._do(lambda: self._leases.others_wait()):
                    await self._pause(claim, segment, progress)
                    return
            await self._give_way(now - asked)
        if await self._checkpoint(claim, segment, progress):
            await self._finish(claim, "succeeded", "", progress)

    async def _answered(self, answers: Answers, items: Sequence[Item], job: Job) -> list[Outcome]:
        """Outcomes of a batch: again and again, ever more slowly, while no runner takes it."""
        pause_s, late = FIRST_PAUSE_S, 0
        while True:
            try:
                return await answers.answer(items, job.options)
            except TRANSIENT as error:
                late += isinstance(error, DeadlineExceeded)
                if late == MAX_LATE:
                    return [failed(error) for _ in items]
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # not to come all at once
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _give_way(self, took_s: float) -> None:
        rest_s = min(MAX_REST_S, GIVE_WAY * took_s) if self._in_flight() else 0.0
        await asyncio.sleep(rest_s)

    async def _checkpoint(self, claim: Claim, segment: SegmentWriter, progress: _Progress) -> bool:
        """Make durable what was answered. False when the job is not held any more, or may not grow."""
        lines = b"".join(progress.lines)
        progress.lines.clear()

        def save() -> bool:
            segment.write(lines)
            return self._leases.checkpoint(
                claim,
                done=progress.done,
                failed=progress.failed,
                models=progress.answered(),
                segment_bytes=segment.size_bytes,
            )

        if not await self._do(save):
            return False
        done, bad = progress.done - progress.saved_done, progress.failed - progress.saved_failed
        job_metrics().answered(claim.job.kind, done=done, failed=bad)
        progress.saved_done, progress.saved_failed = progress.done, progress.failed
        if await self._do(lambda: self._leases.is_disk_full(self._max_disk_bytes)):
            await self._finish(claim, "failed", "the results of all jobs take more room than there is", progress)
            return False
        return True

    async def _pause(self, claim: Claim, segment: SegmentWriter, progress: _Progress) -> None:
        if not progress.lines or await self._checkpoint(claim, segment, progress):
            await self._do(lambda: self._leases.release(claim))

    async def _finish(self, claim: Claim, status: JobStatus, fault: str, progress: _Progress | None = None) -> None:
        if await self._do(lambda: self._leases.finish(claim, status, fault=fault)):
            progress = progress or _Progress.of(claim.job)
            job_metrics().ended(claim.job.kind, status)
            log.info("job %s: %s, %d items, %d of them failed", claim.job.id, status, progress.done, progress.failed)

    async def _do(self, call: Callable[[], Any]) -> Any:  # Any: whatever `call` gives
        return await self._threads.run(lambda _: call(), None)


def _line(index: int, item: Item, outcome: Outcome) -> bytes:
    named = {name: item.head[name] for name in _NAMES if name in item.head}
    model = outcome.model
    said = None if model is None else {"name": model.name, "version": model.version}
    return orjson.dumps({"index": index, **named, **outcome.content, "model": said}) + b"\n"


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # looked at where the task is awaited
