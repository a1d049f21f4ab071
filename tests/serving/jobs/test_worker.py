"""A worker answers every item once, in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
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
from serving.jobs.storage.item_file import ITEMS, Item
from serving.jobs.storage.leases import Leases
from serving.jobs.storage.record import Job
from serving.jobs.worker import MAX_LATE, Worker
from tests.serving.event_loop import in_loop
from tests.serving.jobs.job_fixtures import Echo, Place, numbered


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(worker_module, "FIRST_PAUSE_S", 0.001)


def worker(place: Place, echo: Echo, **more: Any) -> Worker:
    answers = dict.fromkeys(("tabular", "images", "recommendations"), echo)
    leases = place.leases(lease_s=60, clock=time.time)
    made = {"max_disk_bytes": 10**9, "poll_s": 0.01, **more}
    return Worker(leases, place.folders, answers, ThreadPool(1, name="test"), **made)  # type: ignore[arg-type]


async def work(worker: Worker, until: Callable[[], bool]) -> None:
    """Run `worker` until something holds; then stop it."""
    task = asyncio.create_task(worker.run())
    while not until():
        assert not task.done()
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait({task})


def found(place: Place, job: Job) -> Job:
    now = place.store.find(job.id, owner=None)
    assert now is not None
    return now


def is_over(place: Place, job: Job) -> Callable[[], bool]:
    return lambda: not found(place, job).is_active


def indices(place: Place, job: Job) -> list[int]:
    lines = [orjson.loads(line) for line in place.lines(job.id).splitlines()]
    assert all(line["prediction"] == line["index"] for line in lines if line["status"] == "ok")
    return [line["index"] for line in lines]


@in_loop
async def test_every_item_is_answered_in_order(place: Place) -> None:
    job = place.add("a", numbered(10))

    await work(worker(place, Echo()), is_over(place, job))

    done = found(place, job)
    assert (done.status, done.done, done.failed) == ("succeeded", 10, 0)
    assert [(each.version, each.items) for each in done.models] == [("v1", 10)]
    assert indices(place, job) == list(range(10))


@in_loop
async def test_a_worker_that_ends_in_the_middle_is_followed_by_one_that_goes_on(place: Place) -> None:
    job = place.add("a", numbered(20))

    def no_more_than_nine(items: Sequence[Item]) -> None:
        if items[0].head["n"] >= 9:
            raise RunnerUnavailable("gone")

    await work(worker(place, Echo(no_more_than_nine)), lambda: found(place, job).done == 9)
    assert found(place, job).is_active

    second = Echo(version="v2")
    await work(worker(place, second), is_over(place, job))

    assert indices(place, job) == list(range(20))
    assert second.batches[0][0] == 9
    assert {each.version: each.items for each in found(place, job).models} == {"v1": 9, "v2": 11}


@in_loop
async def test_what_a_killed_worker_wrote_and_did_not_checkpoint_does_not_count(place: Place) -> None:
    job = place.add("a", numbered(6))
    killed = place.leases()
    claim = killed.claim()
    assert claim is not None
    torn = place.folders.of(job.id) / f"{claim.token}.lines"
    torn.write_bytes(b'{"index":0,"status":"ok","prediction":0}\n{"index":1,"sta')
    killed.checkpoint(claim, done=1, failed=0, models=(), segment_bytes=41)

    # Its lease is of a time long gone.
    await work(worker(place, Echo()), is_over(place, job))

    assert indices(place, job) == list(range(6))


@in_loop
async def test_two_workers_share_the_jobs_and_answer_each_once(place: Place) -> None:
    jobs = [place.add(name, numbered(30)) for name in "abcd"]
    at_work = set()

    def both(name: str) -> Callable[[Sequence[Item]], None]:
        def before(items: Sequence[Item]) -> None:
            at_work.add(name)
            if len(at_work) < 2:
                raise Overloaded("the other has not begun")

        return before

    first, second = Echo(both("first")), Echo(both("second"))

    async with asyncio.TaskGroup() as group:
        for echo in (first, second):
            group.create_task(work(worker(place, echo), lambda: not any(found(place, job).is_active for job in jobs)))

    assert all(indices(place, job) == list(range(30)) for job in jobs)
    assert len(first.batches) + len(second.batches) == 40


@pytest.mark.parametrize("error", [Overloaded("full"), RunnerUnavailable("gone")])
def test_a_runner_that_does_not_take_a_batch_is_asked_again(place: Place, error: Exception) -> None:
    left = [error] * 8

    def before(items: Sequence[Item]) -> None:
        if left:
            raise left.pop()

    @in_loop
    async def test() -> None:
        job = place.add("a", numbered(4))
        await work(worker(place, Echo(before)), is_over(place, job))
        assert (found(place, job).status, found(place, job).failed) == ("succeeded", 0)

    test()
    assert not left


@in_loop
async def test_a_batch_that_is_never_in_time_fails_and_the_others_do_not(place: Place) -> None:
    tried = 0

    def before(items: Sequence[Item]) -> None:
        nonlocal tried
        if items[0].head["n"] == 3:
            tried += 1
            raise DeadlineExceeded("late")

    job = place.add("a", numbered(8))
    await work(worker(place, Echo(before)), is_over(place, job))

    assert (found(place, job).status, found(place, job).failed, tried) == ("succeeded", 3, MAX_LATE)
    assert indices(place, job) == list(range(8))


@in_loop
async def test_a_cancelled_job_keeps_what_was_answered_and_its_worker_goes_on_with_the_next(place: Place) -> None:
    job = place.add("a", numbered(300))

    def before(items: Sequence[Item]) -> None:
        if items[0].head.get("n") == 30:
            place.store.cancel(job.id)

    place.clock.now += 1
    next_ = place.add("b", numbered(3))
    await work(worker(place, Echo(before)), is_over(place, next_))

    cancelled = found(place, job)
    assert cancelled.status == "cancelled"
    assert indices(place, job) == list(range(cancelled.done))
    assert 0 < cancelled.done < 300
    assert found(place, next_).status == "succeeded"


@in_loop
async def test_a_worker_that_is_told_to_stop_begins_nothing_and_keeps_what_it_did(place: Place) -> None:
    job = place.add("a", numbered(100))
    stopping = False

    def before(items: Sequence[Item]) -> None:
        nonlocal stopping
        stopping = items[0].head["n"] >= 9

    echo = Echo(before)
    await work(worker(place, echo, is_stopping=lambda: stopping), lambda: stopping and found(place, job).done == 12)
    assert len(echo.batches) == 4
    # It is free at once: nobody waits for a lease to run out.
    assert place.leases(clock=time.time).claim() is not None


@in_loop
async def test_files_that_are_cut_fail_the_job_and_the_worker_lives(place: Place) -> None:
    broken = place.add("a", numbered(5))
    (place.folders.of(broken.id) / ITEMS).write_bytes(b"")
    place.clock.now += 1
    job = place.add("b", numbered(2))

    await work(worker(place, Echo()), is_over(place, job))

    assert found(place, broken).status == "failed"
    assert "cannot be read" in found(place, broken).fault
    assert found(place, job).status == "succeeded"


@in_loop
async def test_a_job_whose_results_take_too_much_room_fails(place: Place) -> None:
    job = place.add("a", numbered(100))
    await work(worker(place, Echo(), max_disk_bytes=3000), is_over(place, job))

    assert found(place, job).status == "failed"
    assert "room" in found(place, job).fault
    assert indices(place, job) == list(range(found(place, job).done))


@in_loop
async def test_jobs_rest_while_requests_are_answered(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def sleep(seconds: float, sleep: Any = asyncio.sleep) -> None:
        rests.append(seconds)
        await sleep(0)

    job = place.add("a", numbered(6))
    made = worker(place, Echo(), in_flight=lambda: 1)
    monkeypatch.setattr(worker_module, "GIVE_WAY", 1e9)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    task = asyncio.create_task(made.run())
    while found(place, job).is_active:
        await asyncio.wait({task}, timeout=0.005)
    task.cancel()
    await asyncio.wait({task})

    assert rests.count(worker_module.MAX_REST_S) == 2


def test_a_store_that_cannot_be_used_is_said_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    def claim(_: object) -> None:
        nonlocal asked
        asked += 1
        if asked != 5:
            raise JobsUnavailable("the disk is gone")

    monkeypatch.setattr(Leases, "claim", claim)
    asyncio.run(work(worker(place, Echo()), lambda: asked > 9))
    assert [record.getMessage() for record in caplog.records] == ["jobs wait: the disk is gone"] * 2
