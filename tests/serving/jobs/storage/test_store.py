"""Jobs are kept for their callers: listed, found by nobody else, bounded, and thrown away in time."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.errors.exceptions import JobsUnavailable, TooManyJobs
from serving.jobs.storage.database import FILE, Database
from serving.jobs.storage.store import JobLimits, JobStore
from tests.serving.jobs.job_fixtures import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_job_is_seen_by_its_owner_alone(place: Place) -> None:
    job = place.add("a", owner="ann")

    assert place.store.find(job.id, owner="ann") == job
    assert place.store.find(job.id, owner=None) == job
    assert place.store.find(job.id, owner="bob") is None
    assert place.store.page(owner="bob") == []


def test_pages_follow_each_other_newest_first(place: Place) -> None:
    for name in "abcd":
        place.clock.now += name != "b"
        place.add(name, kind="images" if name == "c" else "tabular")

    first = place.store.page(owner="ann", limit=2)
    second = place.store.page(owner="ann", before=(first[-1].created, first[-1].id), limit=2)

    assert [job.id[0] for job in (*first, *second)] == ["d", "c", "b", "a"]
    assert [job.id[0] for job in place.store.page(owner=None, kind="images", status="queued")] == ["c"]


def test_the_same_key_is_the_same_job_of_the_same_caller(place: Place) -> None:
    first = place.add("a", key="k")

    assert place.add("b", key="k") == first
    assert place.add("c", key="k", owner="bob").id[0] == "c"
    assert place.store.keyed("ann", "k") == first


def test_a_caller_has_so_many_jobs_and_no_more(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=JobLimits(max_per_caller=2, ttl_s=100))
    place.add("a")
    place.add("b")

    with pytest.raises(TooManyJobs, match="2 jobs"):
        place.add("c")
    place.add("d", owner="bob")
    place.store.delete("a" * 32)
    place.add("e")


def test_all_jobs_together_have_so_many_bytes(tmp_path: Path) -> None:
    place = Place(tmp_path, limits=JobLimits(max_disk_bytes=10))

    place.store.check_room("ann", 10)
    with pytest.raises(JobsUnavailable):
        place.store.check_room("ann", 11)


def test_a_cancelled_job_stays_until_it_expires_and_is_remembered_for_as_long_again(place: Place) -> None:
    job = place.add("a", key="k")
    cancelled = place.store.cancel(job.id)
    assert cancelled is not None
    assert (cancelled.status, cancelled.expires) == ("cancelled", 1100.0)
    assert place.store.expire() == []

    place.clock.now += 100
    assert [each.id for each in place.store.expire()] == [job.id]
    found = place.store.find(job.id, owner="ann")
    assert found is not None
    assert found.status == "expired"
    assert place.store.with_files() == set()
    assert place.store.keyed("ann", "k") is None

    place.clock.now += 100
    assert place.store.expire() == []
    assert place.store.find(job.id, owner="ann") is None


def test_a_job_that_is_over_is_not_cancelled(place: Place) -> None:
    job = place.add("a")
    leases = place.leases()
    claim = leases.claim()
    assert claim is not None
    leases.finish(claim, "succeeded")

    again = place.store.cancel(job.id)
    assert again is not None
    assert again.status == "succeeded"
    assert place.store.cancel("f" * 32) is None


def test_counts_tell_how_many_and_since_when(place: Place) -> None:
    assert place.store.counts().waiting_since is None
    place.add("a")
    place.clock.now += 5
    place.add("b", kind="images")

    counts = place.store.counts()
    assert counts.jobs == {("tabular", "queued"): 1, ("images", "queued"): 1}
    assert counts.waiting_since == 1000.0


def test_what_was_added_is_there_after_a_restart(place: Place) -> None:
    job = place.add("a")

    assert JobStore(Database(place.root), place.limits).find(job.id, owner="ann") == job


def test_a_database_that_cannot_be_opened_is_told_and_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "jobs"
    file.write_text("in the way")
    store = JobStore(Database(file), JobLimits())
    with pytest.raises(JobsUnavailable):
        store.counts()

    file.unlink()
    assert store.counts().jobs == {}


def test_a_damaged_database_is_told(place: Place) -> None:
    (place.root / FILE).write_bytes(b"no database" * 1000)

    with pytest.raises(JobsUnavailable):
        place.store.counts()
