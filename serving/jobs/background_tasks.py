"""The tasks of jobs in the background: workers, and a periodic task that removes expired jobs and counts the others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from typing import Final

from models.watch import Watch
from serving.concurrency import ThreadPool
from serving.jobs.metrics import job_metrics
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.store import JobStore
from serving.jobs.worker import Worker

log = logging.getLogger("makunouchi.jobs")

COUNT_INTERVAL_S: Final = 5.0
SWEEP_INTERVAL_S: Final = 60.0


class JobTasks:
    """The background tasks of one gateway. They run in one event loop, from `start` to `stop`."""

    def __init__(
        self,
        database: Database,
        store: JobStore,
        folders: JobFiles,
        threads: ThreadPool,
        workers: Sequence[Worker],
        *,
        kinds: Collection[str] = (),
    ) -> None:
        self._database = database
        self._store = store
        self._folders = folders
        self._threads = threads
        self._workers = workers
        self._kinds = kinds
        self._watch = Watch("jobs", "use the database and the files of the jobs", keeps="jobs are refused", log=log)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the tasks. Call this inside an event loop."""
        self._tasks = [asyncio.create_task(worker.run()) for worker in self._workers]
        self._tasks.append(asyncio.create_task(self._maintain()))

    def wake(self) -> None:
        """Wake the workers, because there is a new job."""
        for worker in self._workers:
            worker.wake()

    async def stop(self) -> None:
        """Stop the tasks. Workers release their jobs, so that other workers can continue at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._threads.run(lambda _: self._database.close(), None)

    async def _maintain(self) -> None:
        swept_at = -SWEEP_INTERVAL_S
        while True:
            with self._watch.attempt():
                if time.monotonic() - swept_at >= SWEEP_INTERVAL_S:
                    swept_at = time.monotonic()
                    await self._threads.run(lambda _: self.sweep(), None)
                counts = await self._threads.run(lambda _: self._store.counts(), None)
                job_metrics().show(counts, tuple(self._kinds))
            await asyncio.sleep(COUNT_INTERVAL_S)

    def sweep(self) -> None:
        """Remove expired results, and folders that belong to no job. May block."""
        for job in self._store.expire():
            self._folders.remove(job.id)
            job_metrics().count_end(job.kind, "expired")
            log.info("job %s: expired", job.id)
        removed = self._folders.remove_orphans(self._store.with_files)
        if removed:
            log.warning("removed %d folders of jobs whose submission was interrupted", removed)
