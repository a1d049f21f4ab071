"""Metrics of jobs in the Prometheus format. The labels are kinds and statuses, which are closed sets."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from serving.jobs.storage.record import STATUSES, JobStatus
from serving.jobs.storage.store import JobCounts
from serving.observability.metrics import service_metrics

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge


class JobMetrics:
    """The metrics of this process. All gateways of a host see the same jobs, so the maximum of their gauges counts."""

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
        return self._gauge("makunouchi_jobs", "Jobs that are stored.", "kind", "status")

    @cached_property
    def _queue_age(self) -> Gauge:
        return self._gauge("makunouchi_job_oldest_queued_seconds", "Age of the oldest job that has not started.")

    def count_end(self, kind: str, status: JobStatus) -> None:
        """Count a job that is over."""
        self._ended.labels(kind, status).inc()

    def count_items(self, kind: str, *, done: int, failed: int) -> None:
        """Count answered items, `failed` of which have an error."""
        self._items.labels(kind, "ok").inc(done - failed)
        self._items.labels(kind, "error").inc(failed)

    def show(self, counts: JobCounts, kinds: Iterable[str]) -> None:
        """Set the gauges to the number of jobs of each kind."""
        for kind in kinds:
            for status in STATUSES:
                self._jobs.labels(kind, status).set(counts.jobs.get((kind, status), 0))
        oldest = counts.oldest_queued
        self._queue_age.set(0.0 if oldest is None else max(0.0, time.time() - oldest))

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        from prometheus_client import Gauge

        return Gauge(name, text, labels, registry=service_metrics().registry, multiprocess_mode="livemax")


_metrics = JobMetrics()


def job_metrics() -> JobMetrics:
    """Return the metrics of this process."""
    return _metrics
