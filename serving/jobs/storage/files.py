"""The files of jobs: one folder for each job, named by its id.

<state folder>/jobs/jobs.db
<state folder>/jobs/<id>/upload          the body, until it is decoded
                         items, ends     the items
                         <token>.lines   the results written under one lease
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from serving.jobs.storage.record import JOB_ID

# A folder without a job belongs to a submission in progress, or to a process that ended. At this age, to the latter.
ORPHAN_S = 7200.0


class JobFiles:
    """The folders of all jobs, inside `root`. Methods raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, job_id: str) -> Path:
        """Return the folder of one job. Raises ValueError for text that is not an id."""
        if not JOB_ID.fullmatch(job_id):
            raise ValueError("not the id of a job")
        return self.root / job_id

    def make(self, job_id: str) -> Path:
        """Create the folder of a new job."""
        folder = self.of(job_id)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        return folder

    def settle(self, job_id: str) -> None:
        """Make the names of the files durable. Their contents are durable already."""
        for folder in (self.of(job_id), self.root):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, job_id: str) -> None:
        """Remove the folder of a job and its content, if it exists."""
        shutil.rmtree(self.of(job_id), ignore_errors=True)

    def remove_orphans(self, known: Collection[str]) -> int:
        """Remove old folders without a job in `known`, and return their number."""
        if not self.root.is_dir():
            return 0
        before = time.time() - ORPHAN_S
        orphans = [
            path.name
            for path in self.root.iterdir()
            if JOB_ID.fullmatch(path.name) and path.name not in known and path.stat().st_mtime < before
        ]
        for name in orphans:
            self.remove(name)
        return len(orphans)


class SegmentWriter:
    """A writer of the results produced under one lease, to a file that no other worker writes."""

    def __init__(self, folder: Path, token: str) -> None:
        self._stream = segment_path(folder, token).open("xb")
        self.size_bytes = 0

    def write(self, lines: bytes) -> None:
        """Append lines, and sync the file."""
        self._stream.write(lines)
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.size_bytes += len(lines)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def segment_path(folder: Path, token: str) -> Path:
    """Return the file of the results produced under one lease."""
    return folder / f"{token}.lines"
