"""Workers answer every item once and in order, across errors, restarts and cancellation."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from models.errors import DeadlineExceeded, Overloaded, RunnerUnavailable
from serving.concurrency import ThreadPool
from serving.errors.exceptions import JobsUnavailable
from serving.jobs import worker as worker_module
from serving.jobs.storage.files import SegmentWriter
from serving.jobs.storage.item_file import ITEMS, JobItem
from serving.jobs.storage.leases import LeaseStore
from serving.jobs.storage.record import Job
from serving.jobs.storage.store import JobLimits
from serving.jobs.worker import MAX_TIMEOUTS, Worker
from tests.serving.event_loop import in_loop
from tests.serving.jobs.job_fixtures import EchoProcessor, JobStorage, job_kind, numbered


@pytest.fixture
def storage(tmp_path: Path) -> JobStorage:
    return JobStorage(tmp_path)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(worker_module, "FIRST_PAUSE_S", 0.001)


def worker(storage: JobStorage, echo: EchoProcessor, **more: Any) -> Worker:
    kinds = {"tabular": job_kind(echo)}
    leases = storage.leases(lease_s=60, clock=time.time)
    return Worker(leases, storage.folders, kinds, ThreadPool(1, name="test"), **{"poll_s": 0.01, **more})


async def work(worker: Worker, until: Callable[[], bool]) -> None:
    """Run `worker` until `until` is true, then stop it."""
    task = asyncio.create_task(worker.run())
    while not until():
        assert not task.done()
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait({task})


def stored(storage: JobStorage, job: Job) -> Job:
    now = storage.store.find(job.id, owner=None)
    assert now is not None
    return now


def is_over(storage: JobStorage, job: Job) -> Callable[[], bool]:
    return lambda: not stored(storage, job).is_active


def indices(storage: JobStorage, job: Job) -> list[int]:
    lines = [orjson.loads(line) for line in storage.lines(job.id).splitlines()]
    assert all(line["prediction"] == line["index"] for line in lines if line["status"] == "ok")
    return [line["index"] for line in lines]


@in_loop
async def test_every_item_is_answered_in_order(storage: JobStorage) -> None:
    job = storage.add("a", numbered(10))

    await work(worker(storage, EchoProcessor()), is_over(storage, job))

    done = stored(storage, job)
    assert (done.status, done.done, done.failed) == ("succeeded", 10, 0)
    assert [(each.version, each.items) for each in done.models] == [("v1", 10)]
    assert indices(storage, job) == list(range(10))


@in_loop
async def test_a_second_worker_continues_after_the_first_one_stopped(storage: JobStorage) -> None:
    job = storage.add("a", numbered(20))

    def no_more_than_nine(items: Sequence[JobItem]) -> None:
        if items[0].head["n"] >= 9:
            raise RunnerUnavailable("gone")

    await work(worker(storage, EchoProcessor(no_more_than_nine)), lambda: stored(storage, job).done == 9)
    assert stored(storage, job).is_active

    second = EchoProcessor(version="v2")
    await work(worker(storage, second), is_over(storage, job))

    assert indices(storage, job) == list(range(20))
    assert second.batches[0][0] == 9
    assert {each.version: each.items for each in stored(storage, job).models} == {"v1": 9, "v2": 11}


@in_loop
async def test_lines_of_a_killed_worker_without_a_checkpoint_do_not_count(storage: JobStorage) -> None:
    job = storage.add("a", numbered(6))
    killed = storage.leases()
    lease = killed.acquire()
    assert lease is not None
    torn = storage.folders.of(job.id) / f"{lease.token}.lines"
    torn.write_bytes(b'{"index":0,"status":"ok","prediction":0}\n{"index":1,"sta')
    killed.checkpoint(lease, done=1, failed=0, models=(), segment_bytes=41)

    # The lease of the killed worker expired.
    await work(worker(storage, EchoProcessor()), is_over(storage, job))

    assert indices(storage, job) == list(range(6))


@in_loop
async def test_two_workers_share_the_jobs_and_answer_each_once(storage: JobStorage) -> None:
    jobs = [storage.add(name, numbered(30)) for name in "abcd"]
    at_work = set()

    def both(name: str) -> Callable[[Sequence[JobItem]], None]:
        def before(items: Sequence[JobItem]) -> None:
            at_work.add(name)
            if len(at_work) < 2:
                raise Overloaded("the other has not begun")

        return before

    first, second = EchoProcessor(both("first")), EchoProcessor(both("second"))

    async with asyncio.TaskGroup() as group:
        for echo in (first, second):
            group.create_task(
                work(worker(storage, echo), lambda: not any(stored(storage, job).is_active for job in jobs))
            )

    assert all(indices(storage, job) == list(range(30)) for job in jobs)
    assert len(first.batches) + len(second.batches) == 40


@pytest.mark.parametrize("error", [Overloaded("full"), RunnerUnavailable("gone")])
def test_a_batch_is_tried_again_after_a_transient_error(storage: JobStorage, error: Exception) -> None:
    left = [error] * 8

    def before(items: Sequence[JobItem]) -> None:
        if left:
            raise left.pop()

    @in_loop
    async def test() -> None:
        job = storage.add("a", numbered(4))
        await work(worker(storage, EchoProcessor(before)), is_over(storage, job))
        assert (stored(storage, job).status, stored(storage, job).failed) == ("succeeded", 0)

    test()
    assert not left


@in_loop
async def test_only_a_batch_that_always_misses_its_deadline_fails(storage: JobStorage) -> None:
    tried = 0

    def before(items: Sequence[JobItem]) -> None:
        nonlocal tried
        if items[0].head["n"] == 3:
            tried += 1
            raise DeadlineExceeded("late")

    job = storage.add("a", numbered(8))
    await work(worker(storage, EchoProcessor(before)), is_over(storage, job))

    assert (stored(storage, job).status, stored(storage, job).failed, tried) == ("succeeded", 3, MAX_TIMEOUTS)
    assert indices(storage, job) == list(range(8))


@in_loop
async def test_a_cancelled_job_has_a_partial_result_and_its_worker_takes_the_next_job(
    storage: JobStorage,
) -> None:
    job = storage.add("a", numbered(300))

    def before(items: Sequence[JobItem]) -> None:
        if items[0].head.get("n") == 30:
            storage.store.cancel(job.id)

    storage.clock.now += 1
    next_ = storage.add("b", numbered(3))
    await work(worker(storage, EchoProcessor(before)), is_over(storage, next_))

    cancelled = stored(storage, job)
    assert cancelled.status == "cancelled"
    assert indices(storage, job) == list(range(cancelled.done))
    assert 0 < cancelled.done < 300
    assert stored(storage, next_).status == "succeeded"


@in_loop
async def test_a_stopping_worker_starts_no_batch_and_saves_its_progress(storage: JobStorage) -> None:
    job = storage.add("a", numbered(100))
    stopping = False

    def before(items: Sequence[JobItem]) -> None:
        nonlocal stopping
        stopping = items[0].head["n"] >= 9

    echo = EchoProcessor(before)
    await work(
        worker(storage, echo, is_stopping=lambda: stopping), lambda: stopping and stored(storage, job).done == 12
    )
    assert len(echo.batches) == 4
    # The job is released at once, not when its lease expires.
    assert storage.leases(clock=time.time).acquire() is not None


@in_loop
async def test_truncated_files_fail_the_job_and_not_the_worker(storage: JobStorage) -> None:
    broken = storage.add("a", numbered(5))
    (storage.folders.of(broken.id) / ITEMS).write_bytes(b"")
    storage.clock.now += 1
    job = storage.add("b", numbered(2))

    await work(worker(storage, EchoProcessor()), is_over(storage, job))

    assert stored(storage, broken).status == "failed"
    assert "cannot be read" in stored(storage, broken).fault
    assert stored(storage, job).status == "succeeded"


@in_loop
async def test_a_job_waits_for_disk_space_and_continues_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker_module, "WAIT_S", 0.01)
    storage = JobStorage(tmp_path, limits=JobLimits(max_disk_bytes=20_000, ttl_s=100))
    for name, size_bytes in (("eve", 10_000), ("bob", 5000), ("tom", 2000)):
        storage.store.reserve(name, f"key:{name}", size_bytes)
    job = storage.add("a", numbered(100), reserved_bytes=500)

    def free_after_wait(items: Sequence[JobItem]) -> None:
        # The space is free once the job has waited.
        if caplog.records:
            storage.store.end_reservation("eve")

    with caplog.at_level("WARNING"):
        await work(worker(storage, EchoProcessor(free_after_wait)), is_over(storage, job))

    assert stored(storage, job).status == "succeeded"
    assert indices(storage, job) == list(range(100))
    assert [record.getMessage() for record in caplog.records] == [
        f"job {job.id}: waits for disk space; delete jobs or raise the limit"
    ]


@in_loop
async def test_a_full_disk_makes_a_job_wait_and_leaves_no_torn_lines(
    storage: JobStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "WAIT_S", 0.01)
    job, failures = storage.add("a", numbered(9)), iter([True] * 8)
    whole = SegmentWriter.write

    def write(segment: SegmentWriter, lines: bytes) -> None:
        if next(failures, False):
            segment._stream.write(lines[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(segment, lines)

    monkeypatch.setattr(SegmentWriter, "write", write)
    await work(worker(storage, EchoProcessor()), is_over(storage, job))

    assert (stored(storage, job).status, stored(storage, job).done) == ("succeeded", 9)
    written = sum(path.stat().st_size for path in storage.folders.of(job.id).glob("*.lines"))
    assert written == len(storage.lines(job.id))


@in_loop
async def test_workers_rest_while_requests_are_in_flight(storage: JobStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def sleep(seconds: float, sleep: Any = asyncio.sleep) -> None:
        rests.append(seconds)
        await sleep(0)

    job = storage.add("a", numbered(6))
    resting = worker(storage, EchoProcessor(), in_flight=lambda: 1)
    monkeypatch.setattr(worker_module, "REST_FACTOR", 1e9)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    task = asyncio.create_task(resting.run())
    while stored(storage, job).is_active:
        await asyncio.wait({task}, timeout=0.005)
    task.cancel()
    await asyncio.wait({task})

    assert rests.count(worker_module.MAX_REST_S) == 2


def test_an_unavailable_store_is_logged_once_per_error(
    storage: JobStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def acquire(_: object) -> None:
        nonlocal calls
        calls += 1
        if calls != 5:
            raise JobsUnavailable("the disk is gone")

    monkeypatch.setattr(LeaseStore, "acquire", acquire)
    asyncio.run(work(worker(storage, EchoProcessor()), lambda: calls > 9))
    assert [record.getMessage() for record in caplog.records] == ["jobs wait: the disk is gone"] * 2
