"""What is counted of jobs, in Prometheus' format. Labels are kinds and statuses: closed sets."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

from serving.jobs.storage.record import KINDS, STATUSES, JobKind, JobStatus
from serving.jobs.storage.store import JobCounts
from serving.observability.metrics import service_metrics

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge


class JobMetrics:
    """JobCounts in the registry of this process. Every gateway of a host sees the same jobs: gauges are the highest."""

    @cached_property
    def _ended(self) -> Counter:
        from prometheus_client import Counter

        return Counter(
            "makunouchi_jobs_ended", "Jobs that are over.", ["kind", "status"], registry=service_metrics().registry
        )

    @cached_property
    def _items(self) -> Counter:
        from prometheus_client import Counter

        return Counter(
            "makunouchi_job_items", "Items of jobs that were answered.", ["kind", "status"],
            registry=service_metrics().registry,
        )  # fmt: skip

    @cached_property
    def _jobs(self) -> Gauge:
        return self._gauge("makunouchi_jobs", "Jobs that are kept.", "kind", "status")

    @cached_property
    def _waiting(self) -> Gauge:
        return self._gauge("makunouchi_job_oldest_queued_seconds", "How long the oldest job waits that never began.")

    def ended(self, kind: JobKind, status: JobStatus) -> None:
        """A job is over."""
        self._ended.labels(kind, status).inc()

    def answered(self, kind: JobKind, *, done: int, failed: int) -> None:
        """Items were answered, some of them with an error."""
        self._items.labels(kind, "ok").inc(done - failed)
        self._items.labels(kind, "error").inc(failed)

    def show(self, counts: JobCounts) -> None:
        """How many jobs there are now."""
        for kind in KINDS:
            for status in STATUSES:
                self._jobs.labels(kind, status).set(counts.jobs.get((kind, status), 0))
        since = counts.waiting_since
        self._waiting.set(0.0 if since is None else max(0.0, time.time() - since))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        from prometheus_client import Gauge

        return Gauge(name, text, labels, registry=service_metrics().registry, multiprocess_mode="livemax")


_metrics = JobMetrics()


def job_metrics() -> JobMetrics:
    """The counts of this process."""
    return _metrics
