"""The files of jobs: one folder for each job, named by its id.

<state folder>/jobs/jobs.db              the database, with its -wal and -shm, and -newest (see `DatabaseFiles`)
<state folder>/jobs/<id>/upload          the body, until it is decoded
                         items, ends     the items
                         job.json        the record, from which a lost database is restored
                         <token>.lines   the results written under one lease

The process that receives a job holds a lock on its folder until the job has a record. A folder without a record and
without a lock was left by a process that ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from serving.jobs.storage.record import JOB_ID, NewJob

# Younger folders may not be locked yet.
ORPHAN_S = 1.0
RECORD = "job.json"
_RECORD_ADAPTER = TypeAdapter(NewJob)


class JobFiles:
    """The folders of all jobs, inside `root`. Methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # The descriptors of the folders that this process locks, by the id of the job.
        self._locks: dict[str, int] = {}

    def of(self, job_id: str) -> Path:
        """Return the folder of one job. Raises ValueError for text that is not an id."""
        if not JOB_ID.fullmatch(job_id):
            raise ValueError("not the id of a job")
        return self.root / job_id

    def make(self, job_id: str) -> Path:
        """Create the folder of a new job, and lock it."""
        folder = self.of(job_id)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        self._locks[job_id] = _locked(folder)
        return folder

    def unlock(self, job_id: str) -> None:
        """Release the lock of `make`, if there is one: the job has a record, or its folder is removed."""
        descriptor = self._locks.pop(job_id, None)
        if descriptor is not None:
            os.close(descriptor)

    def settle(self, new: NewJob) -> None:
        """Write the record of a job, and make the names of its files durable. Their contents are durable already."""
        folder = self.of(new.id)
        with (folder / RECORD).open("wb") as stream:
            stream.write(orjson.dumps(asdict(new)))
            stream.flush()
            os.fsync(stream.fileno())
        for each in (folder, self.root):
            descriptor = os.open(each, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def forget(self, job_id: str) -> None:
        """Remove the record of a job that must not start again: one that was cancelled, or is deleted next."""
        (self.of(job_id) / RECORD).unlink(missing_ok=True)

    def records(self) -> Iterator[NewJob]:
        """Yield the records of all complete jobs, except of those that a process is receiving."""
        for folder in self._folders():
            try:
                descriptor = _locked(folder)
            except OSError:
                continue
            try:
                yield _RECORD_ADAPTER.validate_json((folder / RECORD).read_bytes())
            except (OSError, ValidationError):
                continue
            finally:
                os.close(descriptor)

    def remove_results(self, job_id: str) -> None:
        """Remove the results of a job that starts again."""
        for path in self.of(job_id).glob("*.lines"):
            path.unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Remove the folder of a job and its content, if it exists."""
        shutil.rmtree(self.of(job_id), ignore_errors=True)
        self.unlock(job_id)

    def remove_orphans(self, known: Callable[[], Collection[str]]) -> int:
        """Remove the folders that belong to no job and to no process, and return their number.

        `known` returns the ids of all jobs. It is called again after a folder is locked: its job may be new.
        """
        removed = 0
        now, jobs = time.time(), known()
        for folder in [each for each in self._folders() if each.name not in jobs]:
            try:
                # A time in the future is from before the clock was set back.
                if now - ORPHAN_S < folder.stat().st_mtime <= now:
                    continue
                descriptor = _locked(folder)
            except OSError:
                continue
            try:
                if folder.name not in known():
                    shutil.rmtree(folder, ignore_errors=True)
                    removed += 1
            finally:
                os.close(descriptor)
        return removed

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return [path for path in self.root.iterdir() if JOB_ID.fullmatch(path.name)]


class SegmentWriter:
    """A writer of the results produced under one lease, to a file that no other worker writes."""

    def __init__(self, folder: Path, token: str) -> None:
        self._path = segment_path(folder, token)
        self._stream = self._path.open("xb", buffering=0)
        self.size_bytes = 0

    def write(self, lines: bytes) -> None:
        """Append lines, and sync the file. Raises OSError also where the file was removed."""
        left = memoryview(lines)
        while left:
            left = left[self._stream.write(left) :]
        os.fsync(self._stream.fileno())
        if not os.path.samestat(self._path.stat(), os.fstat(self._stream.fileno())):
            raise FileNotFoundError(f"{self._path.name} was replaced")
        self.size_bytes += len(lines)

    def close(self) -> None:
        """Close the file, without what a failed write left in it."""
        try:
            self._stream.truncate(self.size_bytes)
        finally:
            self._stream.close()


def segment_path(folder: Path, token: str) -> Path:
    """Return the file of the results produced under one lease."""
    return folder / f"{token}.lines"


def _locked(folder: Path) -> int:
    """Return a descriptor that holds the lock of `folder` until it is closed. Raises OSError where it is locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
