"""The files of jobs: one folder for each, named by its id. Knows paths, not what is in them.

<state folder>/jobs/jobs.db
<state folder>/jobs/<id>/upload          while it is taken
                         items, ends     what it asks
                         <token>.lines   what was answered under one lease
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from serving.jobs.storage.record import JOB_ID

# A folder that no job knows is one that is being filled, or was when its process ended: this old, it is the latter.
ORPHAN_S = 7200.0


class JobFiles:
    """The folders of all jobs below one. Raises OSError like the functions of `os`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def of(self, job_id: str) -> Path:
        """The folder of one job."""
        if not JOB_ID.fullmatch(job_id):
            raise ValueError("not the id of a job")
        return self.root / job_id

    def make(self, job_id: str) -> Path:
        """Make the folder of a new job."""
        folder = self.of(job_id)
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
        return folder

    def settle(self, job_id: str) -> None:
        """Make the names of the files durable: their contents are."""
        for folder in (self.of(job_id), self.root):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def remove(self, job_id: str) -> None:
        """Remove the folder of a job with all that is in it, if it is there."""
        shutil.rmtree(self.of(job_id), ignore_errors=True)

    def remove_orphans(self, known: Collection[str]) -> int:
        """Remove old folders that are no job's. Gives how many."""
        if not self.root.is_dir():
            return 0
        before = time.time() - ORPHAN_S
        orphans = [
            each.name
            for each in self.root.iterdir()
            if JOB_ID.fullmatch(each.name) and each.name not in known and each.stat().st_mtime < before
        ]
        for name in orphans:
            self.remove(name)
        return len(orphans)


class SegmentWriter:
    """The answers given under one lease, in a file that nobody else writes."""

    def __init__(self, folder: Path, token: str) -> None:
        self._stream = segment_path(folder, token).open("xb")
        self.size_bytes = 0

    def write(self, lines: bytes) -> None:
        """Append lines, durably when it returns."""
        self._stream.write(lines)
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.size_bytes += len(lines)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def segment_path(folder: Path, token: str) -> Path:
    """The file of the answers given under one lease."""
    return folder / f"{token}.lines"
