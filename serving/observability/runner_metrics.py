"""Metrics of the runners' queues."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from serving.context import PRIORITIES, Priority
from serving.observability.metric_counts import MetricCounts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class RunnerMetrics:
    """The metrics of all runners in one registry, with the runner as a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self.batch_rows = Histogram(
            "makunouchi_batch_rows", "Rows in one call to a runner.", ["runner"], buckets=BATCH_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self.queued = Gauge(
            "makunouchi_queued_rows", "Rows that wait for a runner.", ["runner", "priority"],
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self.shed = Counter(
            "makunouchi_shed_requests", "Requests refused because a queue was full.", ["runner", "priority"],
            registry=registry,
        )  # fmt: skip
        self.up = Gauge(
            "makunouchi_runner_up", "Whether a runner answers (1) or not (0).", ["runner"],
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip
        self.replicas = Gauge(
            "makunouchi_runner_replicas", "Processes of a runner.", ["runner"],
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self.replicas_up = Gauge(
            "makunouchi_runner_replicas_up", "Processes of a runner that answer.", ["runner"],
            registry=registry, multiprocess_mode="livemin",
        )  # fmt: skip


class RunnerGauge:
    """The metrics of one runner's queues, a `batching.QueueGauge`."""

    def __init__(self, metrics: RunnerMetrics, runner: str, schedule_flush: Callable[[], None]) -> None:
        self._schedule_flush = schedule_flush
        self._rows = metrics.batch_rows.labels(runner)
        self._queued = {priority: metrics.queued.labels(runner, priority) for priority in PRIORITIES}
        self._shed = {priority: metrics.shed.labels(runner, priority) for priority in PRIORITIES}
        self._up = metrics.up.labels(runner)
        self._up.set(0)
        self._replicas = metrics.replicas.labels(runner)
        self._replicas_up = metrics.replicas_up.labels(runner)
        self._counts = MetricCounts(BATCH_BUCKETS)
        self._queued_rows: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)

    def batch(self, rows: int) -> None:
        """Count a call to the runner."""
        self._counts.add(rows)
        self._schedule_flush()

    def queued(self, rows: int, priority: Priority) -> None:
        """Set how many rows wait."""
        self._queued_rows[priority] = rows
        self._schedule_flush()

    def shed(self, priority: Priority) -> None:
        """Count a refused request."""
        self._shed[priority].inc()

    def up(self, is_up: bool) -> None:
        """Set whether the runner answers."""
        self._up.set(is_up)

    def replicas(self, up: int, number: int) -> None:
        """Set how many processes of the runner answer, and how many there are."""
        self._replicas_up.set(up)
        self._replicas.set(number)

    def flush(self) -> None:
        """Write the counts."""
        for priority, rows in self._queued_rows.items():
            self._queued[priority].set(rows)
        if self._counts.number:
            self._counts.move_to(self._rows)
