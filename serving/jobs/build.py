"""Jobs from the settings: what takes them and what works on them. Knows settings and calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from serving.concurrency import ThreadPool
from serving.jobs.background import Background
from serving.jobs.decoding.task import DecodeLimits
from serving.jobs.outcomes import Answers, ImageAnswers, RowAnswers, UserAnswers
from serving.jobs.service import JobService
from serving.jobs.storage.database import Database
from serving.jobs.storage.files import JobFiles
from serving.jobs.storage.leases import Leases
from serving.jobs.storage.record import JobKind
from serving.jobs.storage.store import JobLimits, JobStore
from serving.jobs.worker import Worker
from serving.observability.metrics import service_metrics
from serving.settings.settings import state_folder

if TYPE_CHECKING:
    from serving.kinds.handlers import Handlers
    from serving.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Jobs:
    """The calls about jobs, and what goes on behind them."""

    calls: JobService
    background: Background

    def start(self) -> None:
        """Begin to work. Call inside an event loop."""
        self.background.start()

    async def stop(self) -> None:
        """Let the jobs at hand go. The threads are idle then, and keep no process; `start` may be called again."""
        await self.background.stop()


def build_jobs(calls: Handlers, settings: Settings, *, is_stopping: Callable[[], bool]) -> Jobs:
    """Jobs as the settings have them. Nothing is opened or started."""
    root = state_folder(settings.state_folder) / "jobs"
    database, folders = Database(root), JobFiles(root)
    limits = JobLimits(settings.job_max_per_caller, settings.job_max_disk_bytes, settings.job_ttl_s)
    store = JobStore(database, limits)
    # One thread: SQLite has one writer, and what is done while a job is worked on keeps its order.
    threads = ThreadPool(1, name="jobs")
    answers: Mapping[JobKind, Answers] = {
        "images": ImageAnswers(cast("Any", calls.by_alias["image"])),
        "tabular": RowAnswers(cast("Any", calls.by_alias["tabular"]), max_rows=settings.max_rows),
        "recommendations": UserAnswers(cast("Any", calls.by_alias["recommender"])),
    }
    workers = [
        Worker(
            Leases(database, lease_s=settings.job_lease_s, ttl_s=settings.job_ttl_s),
            folders,
            answers,
            threads,
            max_disk_bytes=settings.job_max_disk_bytes,
            in_flight=lambda: service_metrics().in_flight,
            is_stopping=is_stopping,
        )
        for _ in range(settings.job_workers)
    ]
    background = Background(database, store, folders, threads, workers)
    decode_limits = DecodeLimits(
        max_items=settings.job_max_items,
        max_item_bytes=settings.max_body_bytes,
        max_unpacked_bytes=settings.job_max_unpacked_bytes,
    )
    job_calls = JobService(
        store,
        folders,
        threads,
        cast("Any", calls.by_alias["tabular"]),
        limits=decode_limits,
        max_upload_bytes=settings.job_max_bytes,
        roots=settings.job_folders,
        on_new=background.wake,
    )
    return Jobs(job_calls, background)
