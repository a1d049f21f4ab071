"""Processes that add jobs while the files of their database are removed and truncated lose no acknowledged job."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from serving.errors.exceptions import JobsUnavailable
from serving.jobs.storage.database import FILE, Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.store import JobLimits, JobStore, restore

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
