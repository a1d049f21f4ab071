"""Build the jobs of a service from its kinds of jobs and its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.concurrency import ThreadPool
from serving.jobs.background_tasks import JobTasks
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.kind import JobKind
from serving.jobs.service import JobService
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.leases import LeaseStore
from serving.jobs.storage.store import JobLimits, JobStore, restore
from serving.jobs.worker import Worker
from serving.observability.metrics import service_metrics
from serving.settings.settings import state_folder

if TYPE_CHECKING:
    from serving.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Jobs:
    """The jobs of a service: the object that requests call, and the tasks in the background."""

    service: JobService
    tasks: JobTasks
    # The kinds that the service and the workers read.
    kinds: dict[str, JobKind]

    def replace(self, kinds: Sequence[JobKind]) -> None:
        """Take and process jobs of these kinds from now on."""
        by_name = _by_name(kinds)
        for name in self.kinds.keys() - by_name.keys():
            del self.kinds[name]
        self.kinds.update(by_name)

    def start(self) -> None:
        """Start the background tasks. Call this inside an event loop."""
        self.tasks.start()

    async def stop(self) -> None:
        """Stop the background tasks and the child processes. `start` may be called again."""
        await self.tasks.stop()
        self.service.close()


def build_jobs(kinds: Sequence[JobKind], settings: Settings, *, is_stopping: Callable[[], bool]) -> Jobs:
    """Return the jobs of a service. Nothing is opened or started. Raises ValueError for two kinds of one name."""
    by_name = _by_name(kinds)
    root = state_folder(settings.state_folder) / "jobs"
    folders = JobFiles(root)
    database = Database(root, restore=restore(folders))
    limits = JobLimits(
        settings.job_max_per_caller,
        settings.job_max_disk_bytes,
        settings.job_ttl_s,
        transfer_s=settings.job_transfer_timeout_s,
    )
    store = JobStore(database, limits)
    # One thread, because SQLite has one writer, and because the updates of a job must keep their order.
    threads = ThreadPool(1, name="jobs")
    workers = [
        Worker(
            LeaseStore(database, lease_s=settings.job_lease_s, ttl_s=settings.job_ttl_s, space=store.space),
            folders,
            by_name,
            threads,
            in_flight=lambda: service_metrics().in_flight,
            is_stopping=is_stopping,
        )
        for _ in range(settings.job_workers)
    ]
    tasks = JobTasks(database, store, folders, threads, workers, kinds=by_name)
    service = JobService(
        store,
        folders,
        threads,
        by_name,
        limits=DecodeLimits(
            max_items=settings.job_max_items,
            max_item_bytes=settings.max_body_bytes,
            max_unpacked_bytes=settings.job_max_unpacked_bytes,
        ),
        max_upload_bytes=settings.job_max_bytes,
        roots=settings.job_folders,
        on_new=tasks.wake,
    )
    return Jobs(service, tasks, by_name)


def _by_name(kinds: Sequence[JobKind]) -> dict[str, JobKind]:
    by_name = {kind.name: kind for kind in kinds}
    if len(by_name) < len(kinds):
        raise ValueError(f"two kinds of jobs have the same name: {', '.join(sorted(kind.name for kind in kinds))}")
    return by_name
