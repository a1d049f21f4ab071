"""The periodic sweep removes expired results, and the folders of processes that ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from serving.concurrency import ThreadPool
from serving.jobs.background_tasks import JobTasks
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import ORPHAN_S
from tests.serving.jobs.job_fixtures import JobStorage

ROOT = Path(__file__).parents[3]


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


def test_folders_without_a_job_and_without_a_process_are_removed(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    job = storage.add("a")
    for name in "bcd":
        storage.folders.make(name * 32)
    # The process that received "b" was killed, "c" is new, and "d" is being received.
    for name in "bc":
        storage.folders.unlock(name * 32)
    (tmp_path / "notes").mkdir()
    for path in tmp_path.iterdir():
        if path.name[0] != "c":
            os.utime(path, (time.time() - ORPHAN_S - 10,) * 2)

    background(storage).sweep()

    assert {path.name[0] for path in tmp_path.iterdir() if path.is_dir()} == {"a", "c", "d", "n"}
    assert storage.folders.of(job.id).exists()
    storage.folders.unlock("d" * 32)


_RECEIVER = """
import sys, time
from pathlib import Path
from serving.jobs.storage.files import JobFiles
folder = JobFiles(Path(sys.argv[1])).make("b" * 32)
(folder / "upload").write_bytes(bytes(1000))
print("receiving", flush=True)
time.sleep(600)
"""


def test_the_files_of_a_process_that_was_killed_while_it_received_a_job_are_removed(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    storage.store.counts()
    command = [sys.executable, "-c", _RECEIVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"receiving\n"
        folder = storage.folders.of("b" * 32)
        os.utime(folder, (0, 0))

        background(storage).sweep()
        assert folder.exists()
        process.kill()

    background(storage).sweep()
    assert not folder.exists()


def test_a_folder_whose_time_is_in_the_future_is_removed_too(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    storage.store.counts()
    folder = storage.folders.make("b" * 32)
    storage.folders.unlock("b" * 32)
    os.utime(folder, (time.time() + 3600,) * 2)

    background(storage).sweep()

    assert not folder.exists()


def test_a_folder_whose_job_was_added_during_the_sweep_stays(tmp_path: Path) -> None:
    storage = JobStorage(tmp_path)
    job = storage.add("a")
    os.utime(storage.folders.of(job.id), (0, 0))
    answers = iter([set(), {job.id}])

    assert storage.folders.remove_orphans(lambda: next(answers)) == 0
    assert storage.folders.of(job.id).exists()
