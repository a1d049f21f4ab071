"""Metrics of what a process reads again while it runs: files of keys, feature tables, the desired state, and others."""

from __future__ import annotations

import functools

from models import watch
from serving.observability.metrics import service_metrics


@functools.cache
def report_watches() -> None:
    """Report every failing `Watch` of this process from now on."""
    from prometheus_client import Gauge

    metrics = service_metrics()
    faults = metrics.counter("makunouchi_watch_faults", "Faults of what is read again while it runs.", "watch")
    failing = Gauge(
        "makunouchi_watch_failing",
        "1 while something that is read again cannot be read, and its last good state applies.",
        ["watch"],
        registry=metrics.registry,
        multiprocess_mode="livemax",
    )

    def report(name: str, is_failing: bool) -> None:
        # Directly and not at the next flush: faults are rare, and some are found outside of the event loop.
        failing.labels(name).set(is_failing)
        if is_failing:
            faults.labels(name).inc()

    watch.listen(report)
