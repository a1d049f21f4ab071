"""Stored jobs are visible to their owners only, limited in number and size, and deleted after they expire."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from serving.errors.exceptions import JobsUnavailable, TooManyJobs
from serving.jobs.storage import database as database_module
from serving.jobs.storage.database import FILE, Database
from serving.jobs.storage.disk_space import SPARE_BYTES
from serving.jobs.storage.store import JobLimits, JobStore
from tests.serving.jobs.job_fixtures import Clock, JobStorage


@pytest.fixture
def storage(tmp_path: Path) -> JobStorage:
    return JobStorage(tmp_path)


def test_a_job_is_visible_to_its_owner_only(storage: JobStorage) -> None:
    job = storage.add("a", owner="ann")

    assert storage.store.find(job.id, owner="ann") == job
    assert storage.store.find(job.id, owner=None) == job
    assert storage.store.find(job.id, owner="bob") is None
    assert storage.store.page(owner="bob") == []


def test_pages_are_newest_first_without_gaps(storage: JobStorage) -> None:
    for name in "abcd":
        storage.clock.now += name != "b"
        storage.add(name, kind="images" if name == "c" else "tabular")

    first = storage.store.page(owner="ann", limit=2)
    second = storage.store.page(owner="ann", before=(first[-1].created, first[-1].id), limit=2)

    assert [job.id[0] for job in (*first, *second)] == ["d", "c", "b", "a"]
    assert [job.id[0] for job in storage.store.page(owner=None, kind="images", status="queued")] == ["c"]


def test_the_same_key_is_the_same_job_of_the_same_caller(storage: JobStorage) -> None:
    first = storage.add("a", key="k")

    assert storage.add("b", key="k") == first
    assert storage.add("c", key="k", owner="bob").id[0] == "c"
    assert storage.store.find_by_key("ann", "k") == first


def test_the_jobs_of_a_caller_are_limited(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path, limits=JobLimits(max_per_caller=2, ttl_s=100))
    storage.add("a")
    storage.add("b")

    with pytest.raises(TooManyJobs, match="2 jobs"):
        storage.add("c")
    storage.add("d", owner="bob")
    storage.store.delete("a" * 32)
    storage.add("e")


def test_the_size_of_all_jobs_is_limited(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path, limits=JobLimits(max_disk_bytes=10))

    with pytest.raises(JobsUnavailable, match="the jobs use 0 of 10 bytes, and 11 more"):
        storage.store.reserve("r", "ann", 11)


def test_a_caller_may_use_half_of_the_space_that_the_others_leave(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path, limits=JobLimits(max_disk_bytes=1000))
    store = storage.store

    assert store.reserve("1", "ann", 400) == 500
    with pytest.raises(TooManyJobs, match=r"101 bytes of disk space are needed .* and 100 are left of your share"):
        store.reserve("2", "ann", 101)
    assert store.reserve("3", "bob", 300) == 300
    with pytest.raises(JobsUnavailable):
        store.reserve("4", "eve", 301)


def test_the_space_for_a_result_is_reserved_until_the_job_is_over(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path, limits=JobLimits(max_disk_bytes=10_000))
    job = storage.add("a", reserved_bytes=4000)
    with pytest.raises(TooManyJobs):
        storage.add("b", reserved_bytes=4000)
    with pytest.raises(JobsUnavailable):
        storage.add("c", owner="bob", reserved_bytes=6000)

    storage.store.cancel(job.id)
    storage.add("d", reserved_bytes=4000)


def test_a_job_is_refused_where_the_disk_lacks_what_is_reserved(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    free = SPARE_BYTES + 5000
    storage.store.space = replace(storage.space, free=lambda folder: free)

    storage.add("a", reserved_bytes=3000)
    with pytest.raises(JobsUnavailable, match="the disk of the jobs is full"):
        storage.add("b", reserved_bytes=3000)


def test_the_reservation_of_a_killed_process_ends(storage: JobStorage) -> None:
    room = storage.store.reserve("1", "ann", 100)
    assert storage.store.reserve("2", "ann", 1) == room - 100
    storage.store.end_reservation("2")

    storage.clock.now += storage.space.transfer_s
    assert storage.store.reserve("3", "ann", 1) == room


def test_a_database_of_an_earlier_version_is_extended(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        for statement in database_module._TABLES[:-2]:
            connection.execute(statement)
        connection.execute(
            "INSERT INTO jobs (id, kind, owner, status, total, created, options, models, fingerprint, size_bytes, "
            "leased_until) VALUES (?, 'tabular', 'ann', 'running', 1, 1.0, '{}', '[]', 'f', 10, 1.8e9)",
            ("a" * 32,),
        )
        connection.commit()
    storage = JobStorage(tmp_path)

    storage.add("b")
    # Its lease, by the time of day, is over.
    lease = storage.leases().acquire()
    assert lease is not None
    assert lease.job.id == "a" * 32


def test_a_cancelled_job_expires_and_is_deleted_after_the_same_time_again(storage: JobStorage) -> None:
    job = storage.add("a", key="k")
    cancelled = storage.store.cancel(job.id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.expires) == ("cancelled", 1100.0)
    assert storage.store.expire() == []

    storage.clock.now += 100
    assert [each.id for each in storage.store.expire()] == [job.id]
    match = storage.store.find(job.id, owner="ann")
    assert match is not None
    assert match.status == "expired"
    assert storage.store.with_files() == set()
    assert storage.store.find_by_key("ann", "k") is None

    storage.clock.now += 100
    assert storage.store.expire() == []
    assert storage.store.find(job.id, owner="ann") is None


def test_a_change_of_the_clock_moves_the_ends_of_retention(storage: JobStorage) -> None:
    job = storage.add("a")
    storage.store.cancel(job.id)
    wall = Clock()
    storage.store._clock = wall
    storage.store.expire()

    for set_by_s in (86_400, -10 * 86_400):
        wall.now += set_by_s
        assert storage.store.expire() == []
    for clock in (wall, storage.clock):
        clock.now += 99
    assert storage.store.expire() == []
    for clock in (wall, storage.clock):
        clock.now += 2
    assert [each.id for each in storage.store.expire()] == [job.id]


def test_a_job_that_is_over_is_not_cancelled(storage: JobStorage) -> None:
    job = storage.add("a")
    leases = storage.leases()
    lease = leases.acquire()
    assert lease is not None
    leases.finish(lease, "succeeded")

    again = storage.store.cancel(job.id)
    assert again is not None
    assert again.status == "succeeded"
    assert storage.store.cancel("f" * 32) is None


def test_counts_are_by_kind_and_status_with_the_oldest_queued_job(storage: JobStorage) -> None:
    assert storage.store.counts().oldest_queued is None
    storage.add("a")
    storage.clock.now += 5
    storage.add("b", kind="images")

    counts = storage.store.counts()
    assert counts.jobs == {("tabular", "queued"): 1, ("images", "queued"): 1}
    assert counts.oldest_queued == 1000.0


def test_jobs_survive_a_restart(storage: JobStorage) -> None:
    job = storage.add("a")

    assert JobStore(Database(storage.root), storage.limits).find(job.id, owner="ann") == job


def test_a_database_that_cannot_be_opened_raises_and_is_opened_later(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_text("in the way")
    store = JobStore(Database(file), JobLimits())
    with pytest.raises(JobsUnavailable):
        store.counts()

    file.unlink()
    assert store.counts().jobs == {}
