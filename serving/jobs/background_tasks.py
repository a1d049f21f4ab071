"""What goes on behind requests: workers, and a look now and then for what has expired and how many jobs there are."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from serving.concurrency import ThreadPool
from serving.errors.exceptions import JobsUnavailable
from serving.jobs.metrics import job_metrics
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.store import JobStore
from serving.jobs.worker import Worker

log = logging.getLogger("makunouchi.jobs")

LOOK_EVERY_S: Final = 5.0
SWEEP_EVERY_S: Final = 60.0


class Background:
    """Runs in one event loop, from `start` to `stop`."""

    def __init__(
        self, database: Database, store: JobStore, folders: JobFiles, threads: ThreadPool, workers: Sequence[Worker]
    ) -> None:
        self._database = database
        self._store = store
        self._folders = folders
        self._threads = threads
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin. Call inside an event loop."""
        self._tasks = [asyncio.create_task(worker.run()) for worker in self._workers]
        self._tasks.append(asyncio.create_task(self._look()))

    def wake(self) -> None:
        """There is a new job."""
        for worker in self._workers:
            worker.wake()

    async def stop(self) -> None:
        """End: jobs at hand are let go, for others to go on with at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._threads.run(lambda _: self._database.close(), None)

    async def _look(self) -> None:
        swept, said = -SWEEP_EVERY_S, ""
        while True:
            try:
                if time.monotonic() - swept >= SWEEP_EVERY_S:
                    swept = time.monotonic()
                    await self._threads.run(lambda _: self.sweep(), None)
                job_metrics().show(await self._threads.run(lambda _: self._store.counts(), None))
                said = ""
            except (JobsUnavailable, OSError) as error:
                if said != str(error):
                    log.error("the jobs cannot be looked at: %s", error)
                said = str(error)
            await asyncio.sleep(LOOK_EVERY_S)

    def sweep(self) -> None:
        """Throw away results that have expired, and files that are nobody's. May block."""
        for job in self._store.expire():
            self._folders.remove(job.id)
            job_metrics().ended(job.kind, "expired")
            log.info("job %s: expired", job.id)
        removed = self._folders.remove_orphans(self._store.with_files())
        if removed:
            log.warning("%d folders of jobs that nobody knows were removed", removed)
