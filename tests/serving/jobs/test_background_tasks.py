"""The periodic sweep removes expired results, and the folders of processes that ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

from serving.concurrency import ThreadPool
from serving.jobs.background_tasks import JobTasks
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import ORPHAN_S
from tests.serving.jobs.job_fixtures import JobStorage


def background(storage: JobStorage) -> JobTasks:
    return JobTasks(Database(storage.root), storage.store, storage.folders, ThreadPool(1, name="test"), [])


def test_the_files_of_an_expired_job_are_removed(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    job, other = storage.add("a"), storage.add("b")
    storage.store.cancel(job.id)
    storage.clock.now += 100

    background(storage).sweep()

    assert not storage.folders.of(job.id).exists()
    assert storage.folders.of(other.id).exists()


def test_old_folders_without_a_job_are_removed_and_new_ones_stay(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    job = storage.add("a")
    for name in "bc":
        storage.folders.make(name * 32)
    (tmp_path / "notes").mkdir()
    for path in tmp_path.iterdir():
        if path.name[0] != "c":
            os.utime(path, (time.time() - ORPHAN_S - 10,) * 2)

    background(storage).sweep()

    assert {path.name[0] for path in tmp_path.iterdir() if path.is_dir()} == {"a", "c", "n"}
    assert storage.folders.of(job.id).exists()
