"""Of several workers one holds a job; what a lost one says does not count."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.jobs.storage.leases import MAX_FRUITLESS, Claim, Leases
from serving.jobs.storage.record import Answered
from tests.serving.jobs.job_fixtures import Place, numbered


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def claimed(leases: Leases) -> Claim:
    claim = leases.claim()
    assert claim is not None
    return claim


def save(leases: Leases, claim: Claim, done: int) -> bool:
    return leases.checkpoint(claim, done=done, failed=0, models=(Answered("tabular", "v1", done),), segment_bytes=done)


def test_a_job_is_claimed_once(place: Place) -> None:
    place.add("a")

    assert claimed(place.leases()).job.status == "running"
    assert place.leases().claim() is None


def test_one_claim_wins_of_many_at_once(place: Place) -> None:
    place.add("a")
    won: list[Claim] = []

    def claim() -> None:
        if (found := place.leases().claim()) is not None:
            won.append(found)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(won) == 1


def test_a_lease_that_is_not_kept_goes_to_another_and_the_old_one_is_worth_nothing(place: Place) -> None:
    job = place.add("a", numbered(9))
    first, second = place.leases(), place.leases()
    old = claimed(first)
    assert save(first, old, 3)
    place.clock.now += 9
    assert first.keep(old)
    place.clock.now += 9
    assert second.claim() is None

    place.clock.now += 2
    new = claimed(second)
    assert new.job.done == 3
    assert not first.keep(old)
    assert not save(first, old, 6)
    assert not first.finish(old, "succeeded")
    assert save(second, new, 9)
    assert second.finish(new, "succeeded")
    assert [size for _, size in place.store.segments(job.id)] == [3, 9]


def test_jobs_take_turns(place: Place) -> None:
    place.add("a")
    place.clock.now += 1
    place.add("b")
    leases, order = place.leases(), ""
    for _ in range(4):
        place.clock.now += 1
        claim = claimed(leases)
        order += claim.job.id[0]
        assert leases.others_wait()
        leases.release(claim)

    assert order == "abab"


def test_a_cancelled_job_is_not_held_any_more(place: Place) -> None:
    job = place.add("a")
    leases = place.leases()
    claim = claimed(leases)
    place.store.cancel(job.id)

    assert not leases.keep(claim)
    assert not save(leases, claim, 1)
    assert leases.claim() is None


def test_a_deleted_job_is_not_held_any_more(place: Place) -> None:
    job = place.add("a")
    leases = place.leases()
    claim = claimed(leases)
    assert save(leases, claim, 1)
    place.store.delete(job.id)

    assert not save(leases, claim, 1)
    assert place.store.segments(job.id) == []


def test_a_job_that_ends_its_workers_is_fruitless_until_it_gets_somewhere(place: Place) -> None:
    place.add("a")
    leases = place.leases()
    for _ in range(MAX_FRUITLESS):
        claim = claimed(leases)
        assert not leases.is_fruitless(claim)
        place.clock.now += 11
    claim = claimed(leases)
    assert leases.is_fruitless(claim)

    save(leases, claim, 1)
    assert not leases.is_fruitless(claim)


def test_turns_that_were_ended_on_purpose_are_not_fruitless(place: Place) -> None:
    place.add("a")
    leases = place.leases()
    for _ in range(2 * MAX_FRUITLESS):
        leases.release(claimed(leases))

    assert not leases.is_fruitless(claimed(leases))


def test_results_count_towards_what_all_jobs_may_take(place: Place) -> None:
    place.add("a")
    leases = place.leases()
    save(leases, claimed(leases), 1000)

    assert leases.is_disk_full(1000)
    assert not leases.is_disk_full(2000)
