"""What is over in time is thrown away, and what is left of a process that ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

from serving.concurrency import ThreadPool
from serving.jobs.background import Background
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import ORPHAN_S
from tests.serving.jobs.job_fixtures import Place


def background(place: Place) -> Background:
    return Background(Database(place.root), place.store, place.folders, ThreadPool(1, name="test"), [])


def test_the_files_of_a_job_go_when_it_expires(tmp_path: Path) -> None:
    place = Place(tmp_path)
    job, other = place.add("a"), place.add("b")
    place.store.cancel(job.id)
    place.clock.now += 100

    background(place).sweep()

    assert not place.folders.of(job.id).exists()
    assert place.folders.of(other.id).exists()


def test_old_folders_that_are_nobody_s_go_and_new_ones_stay(tmp_path: Path) -> None:
    place = Place(tmp_path)
    kept = place.add("a")
    for name in "bc":
        place.folders.make(name * 32)
    (tmp_path / "notes").mkdir()
    for path in tmp_path.iterdir():
        if path.name[0] != "c":
            os.utime(path, (time.time() - ORPHAN_S - 10,) * 2)

    background(place).sweep()

    assert {path.name[0] for path in tmp_path.iterdir() if path.is_dir()} == {"a", "c", "n"}
    assert place.folders.of(kept.id).exists()
