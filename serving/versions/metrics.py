"""Metrics by version of a model: requests, latency, and how far a shadow agrees.

Label values are versions that an administrator named or that were the default: a set that clients cannot widen.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Literal, TypeVar

from serving.observability.metric_counts import MetricCounts
from serving.observability.metrics import LATENCY_BUCKETS_S, ServiceMetrics, service_metrics

# Versions with their own series in one process. A long-running service changes versions without end, and series are
# never dropped; further versions share the label `other`.
MAX_VERSION_LABELS: Final = 50
OTHER: Final = "other"
AGREEMENT_BUCKETS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
DIFFERENCE_BUCKETS: Final = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)

K = TypeVar("K", bound=Hashable)
Role = Literal["answer", "shadow"]
# `fallback`: the version chosen by weight was not loaded, and the default one answered. `dropped`: a shadow call that
# was not made because the runner was busy.
Outcome = Literal["ok", "error", "fallback", "dropped"]


class VersionMetrics:
    """The metrics of one process. Call inside an event loop."""

    def __init__(self, owner: ServiceMetrics) -> None:
        from prometheus_client import Counter, Histogram

        self._owner = owner
        self._requests = Counter(
            "makunouchi_version_requests",
            "Requests to a version of a model, by outcome.",
            ["model", "version", "role", "outcome"],
            registry=owner.registry,
        )
        self._seconds = Histogram(
            "makunouchi_version_seconds",
            "Time from the call to a version to its answer.",
            ["model", "version", "role"],
            buckets=LATENCY_BUCKETS_S,
            registry=owner.registry,
        )
        self._agreement = Histogram(
            "makunouchi_shadow_agreement",
            "Share of a request on which a shadow agrees: the most likely class, or the recommended items.",
            ["model", "version"],
            buckets=AGREEMENT_BUCKETS,
            registry=owner.registry,
        )
        self._difference = Histogram(
            "makunouchi_shadow_difference",
            "Mean absolute difference between the numbers of a shadow and of the answer.",
            ["model", "version"],
            buckets=DIFFERENCE_BUCKETS,
            registry=owner.registry,
        )
        self._labels: dict[tuple[str, str], str] = {}
        self._request_counts: dict[tuple[str, str, Role, Outcome], int] = {}
        self._latencies: dict[tuple[str, str, Role], MetricCounts] = {}
        self._agreements: dict[tuple[str, str], MetricCounts] = {}
        self._differences: dict[tuple[str, str], MetricCounts] = {}
        owner.add(self)

    def record_answer(
        self, model: str, version: str, seconds: float, *, role: Role = "answer", requests: int = 1
    ) -> None:
        """Count `requests` requests that one call to a version answered in `seconds`."""
        version = self._label(model, version)
        self._count((model, version, role, "ok"), requests)
        _of(self._latencies, (model, version, role), LATENCY_BUCKETS_S).add(seconds, requests)

    def record_outcome(self, model: str, version: str, outcome: Outcome, *, role: Role = "answer") -> None:
        """Count a request that the version did not answer."""
        self._count((model, self._label(model, version), role, outcome))

    def record_comparison(self, model: str, version: str, *, agreement: float | None, difference: float | None) -> None:
        """Record how far a shadow's answer agrees."""
        key = (model, self._label(model, version))
        if agreement is not None:
            _of(self._agreements, key, AGREEMENT_BUCKETS).add(agreement)
        if difference is not None:
            _of(self._differences, key, DIFFERENCE_BUCKETS).add(difference)
        self._owner.schedule_flush()

    def flush(self) -> None:
        """Write the counts since the last call to the registry."""
        for labels, count in self._request_counts.items():
            self._requests.labels(*labels).inc(count)
        self._request_counts.clear()
        for histogram, series in (
            (self._seconds, self._latencies),
            (self._agreement, self._agreements),
            (self._difference, self._differences),
        ):
            for names, counts in series.items():
                if counts.number:
                    counts.move_to(histogram.labels(*names))

    def _count(self, key: tuple[str, str, Role, Outcome], requests: int = 1) -> None:
        self._request_counts[key] = self._request_counts.get(key, 0) + requests
        self._owner.schedule_flush()

    def _label(self, model: str, version: str) -> str:
        label = self._labels.get((model, version))
        if label is None:
            if len(self._labels) >= MAX_VERSION_LABELS:
                return OTHER
            label = self._labels[model, version] = version
        return label


def _of(series: dict[K, MetricCounts], key: K, bounds: tuple[float, ...]) -> MetricCounts:
    counts = series.get(key)
    if counts is None:
        counts = series[key] = MetricCounts(bounds)
    return counts


def version_metrics() -> VersionMetrics:
    """Return the metrics of this process; the first call creates them."""
    global _metrics
    if _metrics is None or _metrics._owner is not service_metrics():
        _metrics = VersionMetrics(service_metrics())
    return _metrics


_metrics: VersionMetrics | None = None
