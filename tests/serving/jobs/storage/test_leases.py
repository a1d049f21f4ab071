"""One worker at a time holds a job, and updates with a lost lease have no effect."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.jobs.storage.leases import MAX_ATTEMPTS, Lease, LeaseStore
from serving.jobs.storage.record import ModelUsage
from serving.jobs.storage.store import JobLimits
from tests.serving.jobs.job_fixtures import Clock, JobStorage, numbered


@pytest.fixture
def storage(tmp_path: Path) -> JobStorage:
    return JobStorage(tmp_path)


def acquired(leases: LeaseStore) -> Lease:
    lease = leases.acquire()
    assert lease is not None
    return lease


def save(leases: LeaseStore, lease: Lease, done: int) -> bool:
    return leases.checkpoint(
        lease, done=done, failed=0, models=(ModelUsage("tabular", "v1", done),), segment_bytes=done
    )


def test_a_job_is_acquired_once(storage: JobStorage) -> None:
    storage.add("a")

    assert acquired(storage.leases()).job.status == "running"
    assert storage.leases().acquire() is None


def test_one_of_many_concurrent_workers_acquires_a_job(storage: JobStorage) -> None:
    storage.add("a")
    leases: list[Lease] = []

    def acquire() -> None:
        if (lease := storage.leases().acquire()) is not None:
            leases.append(lease)

    threads = [threading.Thread(target=acquire) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(leases) == 1


def test_an_expired_lease_is_replaced_and_the_old_one_is_invalid(storage: JobStorage) -> None:
    job = storage.add("a", numbered(9))
    first, second = storage.leases(), storage.leases()
    old = acquired(first)
    assert save(first, old, 3)
    storage.clock.now += 9
    assert first.renew(old)
    storage.clock.now += 9
    assert second.acquire() is None

    storage.clock.now += 2
    new = acquired(second)
    assert new.job.done == 3
    assert not first.renew(old)
    assert not save(first, old, 6)
    assert not first.finish(old, "succeeded")
    assert save(second, new, 9)
    assert second.finish(new, "succeeded")
    assert [size for _, size in storage.store.segments(job.id)] == [3, 9]


def test_jobs_take_turns(storage: JobStorage) -> None:
    storage.add("a")
    storage.clock.now += 1
    storage.add("b")
    leases, order = storage.leases(), ""
    for _ in range(4):
        storage.clock.now += 1
        lease = acquired(leases)
        order += lease.job.id[0]
        assert leases.has_waiting_jobs()
        leases.release(lease)

    assert order == "abab"


def test_the_lease_of_a_cancelled_job_is_lost(storage: JobStorage) -> None:
    job = storage.add("a")
    leases = storage.leases()
    lease = acquired(leases)
    storage.store.cancel(job.id)

    assert not leases.renew(lease)
    assert not save(leases, lease, 1)
    assert leases.acquire() is None


def test_the_lease_of_a_deleted_job_is_lost(storage: JobStorage) -> None:
    job = storage.add("a")
    leases = storage.leases()
    lease = acquired(leases)
    assert save(leases, lease, 1)
    storage.store.delete(job.id)

    assert not save(leases, lease, 1)
    assert storage.store.segments(job.id) == []


def test_a_job_that_ends_its_workers_uses_up_its_attempts_until_a_checkpoint(storage: JobStorage) -> None:
    storage.add("a")
    leases = storage.leases()
    for _ in range(MAX_ATTEMPTS):
        lease = acquired(leases)
        assert not leases.has_used_attempts(lease)
        storage.clock.now += 11
    lease = acquired(leases)
    assert leases.has_used_attempts(lease)

    save(leases, lease, 1)
    assert not leases.has_used_attempts(lease)


def test_released_leases_are_not_attempts(storage: JobStorage) -> None:
    storage.add("a")
    leases = storage.leases()
    for _ in range(2 * MAX_ATTEMPTS):
        leases.release(acquired(leases))

    assert not leases.has_used_attempts(acquired(leases))


def test_results_count_towards_the_disk_limit(storage: JobStorage) -> None:
    storage.add("a")
    leases = storage.leases()
    lease = acquired(leases)
    save(leases, lease, 1000)
    left = storage.limits.max_disk_bytes - 1000 - len("{}\n")

    assert leases.has_room(lease, left)
    assert not leases.has_room(lease, left + 1)


def test_a_result_may_use_what_is_reserved_for_it_when_the_disk_is_full(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path, limits=JobLimits(max_disk_bytes=10_000))
    storage.add("a", reserved_bytes=4000)
    storage.add("b", owner="bob", reserved_bytes=2900)
    storage.add("c", owner="eve", reserved_bytes=1500)
    leases = storage.leases()
    lease = acquired(leases)

    assert leases.has_room(lease, 4000)
    assert not leases.has_room(lease, 6000)


def test_a_change_of_the_time_of_day_neither_ends_nor_extends_a_lease(storage: JobStorage) -> None:
    storage.add("a")
    leases = storage.leases(clock=Clock())
    leases._clock = storage.clock
    lease = acquired(leases)
    storage.clock.now += 86_400
    assert leases.acquire() is None
    storage.clock.now -= 10 * 86_400
    assert leases.acquire() is None
    assert leases.renew(lease)


def test_a_lease_from_before_a_restart_of_the_machine_is_over(storage: JobStorage) -> None:
    storage.add("a")
    before = storage.leases()
    lease = acquired(before)
    # The clock of leases starts again.
    storage.clock.now = 5.0

    assert acquired(storage.leases()).token != lease.token


def test_callers_take_turns_however_many_jobs_each_of_them_has(storage: JobStorage) -> None:
    for name in "abcd":
        storage.add(name, owner="ann")
    storage.add("e", owner="bob")
    leases, order = storage.leases(), ""
    for _ in range(6):
        lease = acquired(leases)
        order += lease.job.owner[0]
        leases.release(lease)

    assert order == "ababab"


def test_the_order_of_turns_does_not_depend_on_the_time(storage: JobStorage) -> None:
    storage.add("a")
    storage.add("b")
    leases, order = storage.leases(), ""
    for _ in range(4):
        lease = acquired(leases)
        order += lease.job.id[0]
        leases.release(lease)
        storage.clock.now -= 100

    assert order == "abab"
