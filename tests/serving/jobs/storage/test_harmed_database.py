"""No acknowledged job is lost when the files of the database are removed, replaced, truncated or damaged."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from models import database_files
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.storage.database import FILE, Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.record import NewJob
from serving.jobs.storage.store import JobLimits, JobStore, restore
from tests.database_harms import remove, remove_all, remove_log
from tests.serving.jobs.job_fixtures import JobStorage

ROOT = Path(__file__).parents[4]
JOBS = 60
_ADDER = """
import secrets, sys, time
from pathlib import Path
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.storage.item_file import ItemWriter, JobItem
from serving.jobs.storage.record import NewJob
from tests.serving.jobs.storage.test_harmed_database import JOBS, open_store
files, store = open_store(Path(sys.argv[1]))
for _ in range(JOBS):
    job_id = secrets.token_hex(16)
    try:
        with ItemWriter(files.make(job_id), max_items=1, max_bytes=1000) as writer:
            writer.add(JobItem({}))
        new = NewJob(job_id, "tabular", "ann", 1, writer.size_bytes, {}, writer.sha256)
        files.settle(new)
        store.add(new)
        files.unlock(job_id)
        print(job_id, flush=True)
    except (JobsUnavailable, OSError):
        files.remove(job_id)
    time.sleep(0.01)
"""


def open_store(root: Path) -> tuple[JobFiles, JobStore]:
    files = JobFiles(root)
    return files, JobStore(Database(root, restore=restore(files)), JobLimits(max_per_caller=1000))


def harm(file: Path, chance: random.Random) -> None:
    suffixes = chance.choice([("",), ("-wal",), ("-shm",), ("", "-wal", "-shm"), ()])
    with contextlib.suppress(OSError):
        if not suffixes:
            os.truncate(file, 0)
        for suffix in suffixes:
            file.with_name(file.name + suffix).unlink()


@pytest.mark.slow
def test_every_acknowledged_job_is_found_after_many_faults(tmp_path: Path) -> None:
    chance, harms = random.Random(7), 0  # noqa: S311  # faults, not secrets
    command = [sys.executable, "-c", _ADDER, str(tmp_path)]
    adders = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    while any(adder.poll() is None for adder in adders):
        time.sleep(chance.uniform(0.05, 0.3))
        if (tmp_path / FILE).exists():
            harm(tmp_path / FILE, chance)
            harms += 1
    acknowledged = {job_id for adder in adders for job_id in adder.communicate()[0].split()}

    _, store = open_store(tmp_path)
    # The last fault may have damaged the file.
    with contextlib.suppress(JobsUnavailable):
        store.counts()
    found = {job.id for job in store.page(owner=None, limit=10 * JOBS)}
    assert harms > 2
    assert len(acknowledged) > JOBS
    assert acknowledged <= found


@pytest.fixture
def restoring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStorage]:
    """A storage whose database is restored from the files of the jobs, as that of the service."""
    # No other process writes a removed file again.
    monkeypatch.setattr(database_files, "_PATIENCE_S", 0.0)
    storage = JobStorage(tmp_path)
    database = Database(tmp_path, restore=restore(storage.folders))
    storage.store = JobStore(database, storage.limits, clock=storage.clock, space=storage.space)
    yield storage
    database.close()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def damage(file: Path) -> None:
    file.write_bytes(b"no database" * 10_000)


def empty_log(file: Path) -> None:
    file.with_name(f"{file.name}-wal").write_bytes(b"")


def replace_by_new(file: Path) -> None:
    with contextlib.closing(sqlite3.connect(file.with_name("other.db"))) as connection:
        connection.execute("CREATE TABLE t (x)")
    file.with_name("other.db").replace(file)


@pytest.mark.parametrize("is_written", [False, True], ids=["in the log", "in the file"])
@pytest.mark.parametrize(
    "harm",
    [remove, remove_all, remove_log, empty, cut, damage, empty_log, replace_by_new],
    ids=lambda harm: harm.__name__,
)
def test_a_database_that_is_harmed_while_it_is_open_keeps_every_job(
    restoring: JobStorage, harm: Callable[[Path], None], is_written: bool, caplog: pytest.LogCaptureFixture
) -> None:
    job = restoring.add("a", key="k")
    if is_written:
        with contextlib.closing(sqlite3.connect(restoring.root / FILE)) as connection:
            connection.execute("PRAGMA wal_checkpoint")
        restoring.store.counts()
    harm(restoring.root / FILE)

    # A damaged file is noticed by the first call that reads it.
    with contextlib.suppress(JobsUnavailable):
        restoring.store.counts()
    other = restoring.add("b")

    # SQLite reads these from its log, or does not need them.
    is_harmless = (harm is cut and not is_written) or harm is damage or (harm is empty_log and is_written)
    assert is_harmless or "while the service ran" in caplog.text
    match = restoring.store.find_by_key("ann", "k")
    assert match is not None
    assert (match.id, match.status) == (job.id, "queued")
    # What another process finds is on the disk.
    after = JobStore(Database(restoring.root, restore=restore(restoring.folders)), restoring.limits)
    with contextlib.suppress(JobsUnavailable):
        after.counts()
    assert {each.id for each in after.page(owner=None)} == {job.id, other.id}


def test_a_removed_database_keeps_the_results_of_its_jobs(restoring: JobStorage) -> None:
    job = restoring.add("a")
    leases = restoring.leases()
    lease = leases.acquire()
    assert lease is not None
    leases.checkpoint(lease, done=1, failed=0, models=(), segment_bytes=7)
    leases.finish(lease, "succeeded")
    (restoring.root / FILE).unlink()

    after = restoring.store.find(job.id, owner=None)
    assert after is not None
    assert (after.status, restoring.store.segments(job.id)) == ("succeeded", [(lease.token, 7)])


def test_a_commit_into_a_removed_file_is_not_acknowledged_unless_it_is_kept(
    restoring: JobStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    restoring.add("a")
    monkeypatch.setattr(database_files, "_copy", lambda connection, path: None)

    def fail() -> None:
        with restoring.store._database.writing() as connection:
            connection.execute("UPDATE jobs SET owner = 'bob'")
            (restoring.root / FILE).unlink()

    with pytest.raises(JobsUnavailable, match="changed during the transaction"):
        fail()


def test_jobs_that_were_cancelled_deleted_or_are_being_received_are_not_restored(restoring: JobStorage) -> None:
    job = restoring.add("a")
    cancelled = restoring.add("b")
    restoring.folders.forget(cancelled.id)
    restoring.folders.make("c" * 32)
    received = NewJob("c" * 32, "tabular", "ann", 1, 1, {}, "f")
    restoring.folders.settle(received)
    empty(restoring.root / FILE)

    assert [each.id for each in restoring.store.page(owner=None)] == [job.id]
    restoring.folders.unlock("c" * 32)
