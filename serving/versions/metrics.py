"""Metrics by version of a model: who answered, how fast, and how far a shadow agrees. Knows names and numbers.

Versions are those that an administrator named, and those that answered by default: a set that clients cannot widen.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final, Literal, TypeVar

from serving.observability.metric_counts import MetricCounts
from serving.observability.metrics import LATENCY_BUCKETS_S, ServiceMetrics, service_metrics

# Versions that one process tells apart. A service that lives on changes them without end, and series are never dropped.
MAX_TOLD: Final = 50
OTHER: Final = "other"
AGREEMENT_BUCKETS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
DIFFERENCE_BUCKETS: Final = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)

K = TypeVar("K", bound=Hashable)
Role = Literal["answer", "shadow"]
# `fallback`: a version that was chosen by weight was not loaded, and the default one answered. `dropped`: a shadow that
# was not asked, because the runner was busy.
Outcome = Literal["ok", "error", "fallback", "dropped"]


class VersionMetrics:
    """The metrics of one process. Call inside an event loop."""

    def __init__(self, owner: ServiceMetrics) -> None:
        from prometheus_client import Counter, Histogram

        self._owner = owner
        self._requests = Counter(
            "makunouchi_version_requests",
            "Requests to a version of a model, by what became of them.",
            ["model", "version", "role", "outcome"],
            registry=owner.registry,
        )
        self._seconds = Histogram(
            "makunouchi_version_seconds",
            "Time from asking a version to its answer.",
            ["model", "version", "role"],
            buckets=LATENCY_BUCKETS_S,
            registry=owner.registry,
        )
        self._agreement = Histogram(
            "makunouchi_shadow_agreement",
            "Share of a request on which a shadow agrees: the likeliest class, or the items recommended.",
            ["model", "version"],
            buckets=AGREEMENT_BUCKETS,
            registry=owner.registry,
        )
        self._difference = Histogram(
            "makunouchi_shadow_difference",
            "Mean absolute difference between a shadow's numbers and those that were answered.",
            ["model", "version"],
            buckets=DIFFERENCE_BUCKETS,
            registry=owner.registry,
        )
        self._told: dict[tuple[str, str], str] = {}
        self._numbers: dict[tuple[str, str, Role, Outcome], int] = {}
        self._times: dict[tuple[str, str, Role], MetricCounts] = {}
        self._agreements: dict[tuple[str, str], MetricCounts] = {}
        self._differences: dict[tuple[str, str], MetricCounts] = {}
        owner.add(self)

    def answered(self, model: str, version: str, seconds: float, *, role: Role = "answer", requests: int = 1) -> None:
        """A version answered, so many requests at once."""
        version = self._label(model, version)
        self._count((model, version, role, "ok"), requests)
        _of(self._times, (model, version, role), LATENCY_BUCKETS_S).add(seconds, requests)

    def ended(self, model: str, version: str, outcome: Outcome, *, role: Role = "answer") -> None:
        """A version did not answer."""
        self._count((model, self._label(model, version), role, outcome))

    def compared(self, model: str, version: str, *, agreement: float | None, difference: float | None) -> None:
        """A shadow's answer was compared."""
        key = (model, self._label(model, version))
        if agreement is not None:
            _of(self._agreements, key, AGREEMENT_BUCKETS).add(agreement)
        if difference is not None:
            _of(self._differences, key, DIFFERENCE_BUCKETS).add(difference)
        self._owner.schedule_flush()

    def flush(self) -> None:
        """Write what was counted since the last time."""
        for labels, number in self._numbers.items():
            self._requests.labels(*labels).inc(number)
        self._numbers.clear()
        for histogram, kept in (
            (self._seconds, self._times),
            (self._agreement, self._agreements),
            (self._difference, self._differences),
        ):
            for names, counts in kept.items():
                if counts.number:
                    counts.move_to(histogram.labels(*names))

    def _count(self, key: tuple[str, str, Role, Outcome], requests: int = 1) -> None:
        self._numbers[key] = self._numbers.get(key, 0) + requests
        self._owner.schedule_flush()

    def _label(self, model: str, version: str) -> str:
        told = self._told.get((model, version))
        if told is None:
            told = version if len(self._told) < MAX_TOLD else OTHER
            if told is not OTHER:
                self._told[model, version] = told
        return told


def _of(kept: dict[K, MetricCounts], key: K, bounds: tuple[float, ...]) -> MetricCounts:
    counts = kept.get(key)
    if counts is None:
        counts = kept[key] = MetricCounts(bounds)
    return counts


def version_metrics() -> VersionMetrics:
    """This process's, made at the first call."""
    global _metrics
    if _metrics is None or _metrics._owner is not service_metrics():
        _metrics = VersionMetrics(service_metrics())
    return _metrics


_metrics: VersionMetrics | None = None
