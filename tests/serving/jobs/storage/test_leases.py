"""One worker at a time holds a job, and updates with a lost lease have no effect."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.jobs.storage.leases import MAX_ATTEMPTS, Lease, LeaseStore
from serving.jobs.storage.record import ModelUsage
from tests.serving.jobs.job_fixtures import JobStorage, numbered


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
    save(leases, acquired(leases), 1000)

    assert leases.is_disk_full(1000)
    assert not leases.is_disk_full(2000)
