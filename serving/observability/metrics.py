"""Metrics of the platform, in Prometheus' format, summed over all processes of one `bentoml serve`. Knows no HTTP.

Labels come from closed sets: route templates, methods, status codes, runner names. BentoML gives every process a common
folder (`PROMETHEUS_MULTIPROC_DIR`); without one the metrics are those of this process.
"""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram

MULTIPROC_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
FLUSH_S: Final = 1.0
_LIVE_FILE: Final = re.compile(r"gauge_live\w*_(\d+)\.db\Z")


class Flushed(Protocol):
    """Keeps numbers until they are written in one go."""

    def flush(self) -> None: ...


class ServiceMetrics:
    """The metrics of one process. Creating one opens files: do so at start, once per process."""

    def __init__(self) -> None:
        # Chooses between memory and files by the environment when it is first imported.
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        self._requests = Counter(
            "makunouchi_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "makunouchi_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        live = {"registry": self.registry, "multiprocess_mode": "livesum"}
        self._in_flight = Gauge("makunouchi_requests_in_flight", "Requests being answered.", **live)  # type: ignore[arg-type]
        self._sockets = Gauge("makunouchi_websockets_open", "WebSockets that are open.", **live)  # type: ignore[arg-type]
        self._closed = Counter(
            "makunouchi_websockets_closed", "WebSockets closed, by the code.", ["code"], registry=self.registry
        )
        self._batch_rows = Histogram(
            "makunouchi_batch_rows", "Rows in one call to a runner.", ["runner"], buckets=BATCH_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self._queued = Gauge("makunouchi_queued_rows", "Rows that wait for a runner.", ["runner"], **live)  # type: ignore[arg-type]
        self._shed = Counter(
            "makunouchi_shed_requests", "Requests refused because a queue was full.", ["runner"], registry=self.registry
        )
        self._up = Gauge(
            "makunouchi_runner_up", "Whether a runner answers (1) or not (0).", ["runner"],
            registry=self.registry, multiprocess_mode="livemin",
        )  # fmt: skip
        self._recommended = Counter(
            "makunouchi_recommendations", "Recommendations answered.", ["algorithm", "reason"], registry=self.registry
        )
        self._feature_rows = Counter(
            "makunouchi_feature_rows",
            "Recommendations that needed features of a known user, by whether the feature store had a row.",
            ["state"],
            registry=self.registry,
        )
        self._feedback = Counter(
            "makunouchi_feedback_events", "Events of feedback, by what became of them.", ["state"],
            registry=self.registry,
        )  # fmt: skip
        self._express = Counter(
            "makunouchi_express_requests", "Requests answered by the short road.", ["route"], registry=self.registry
        )
        self._tallies: dict[tuple[Counter, tuple[str, ...]], int] = {}
        # Requests are counted here and written in blocks: counting one in the shared files takes 15 us, here one.
        self._new: dict[tuple[str, str, int], MetricCounts] = {}
        self._parts: list[Flushed] = []
        self._count = 0
        self._open_sockets = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Requests that this process answers now."""
        return self._count

    def began(self) -> None:
        """A request has come."""
        self._count += 1

    def ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered, or given up. Call inside an event loop."""
        self._count -= 1
        self.answered(route, method, status, seconds)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Something was answered that was not counted while in flight. Call inside an event loop."""
        counts = self._new.get((route, method, status))
        if counts is None:
            counts = self._new[route, method, status] = MetricCounts(LATENCY_BUCKETS_S)
        counts.add(seconds)
        self.flush_soon()

    def connected(self) -> None:
        """A WebSocket was let in. Call inside an event loop."""
        self._open_sockets += 1
        self.flush_soon()

    def disconnected(self, code: str) -> None:
        """A WebSocket that was let in is over. Call inside an event loop."""
        self._open_sockets -= 1
        self._tally(self._closed, code)

    def left(self) -> None:
        """A request is counted by somebody else from here on."""
        self._count -= 1

    def by_fast_path(self, route: str, number: int) -> None:
        """So many requests were answered by the short road. Call inside an event loop."""
        self._tally(self._express, route, number=number)

    def recommended(self, algorithm: str, reason: str | None, features: str | None) -> None:
        """A recommendation was made. Call inside an event loop."""
        self._tally(self._recommended, algorithm, reason or "personal")
        if features:
            self._tally(self._feature_rows, features)

    def fed_back(self, accepted: int, duplicates: int) -> None:
        """Events of feedback were written. Call inside an event loop."""
        self._tally(self._feedback, "accepted", number=accepted)
        self._tally(self._feedback, "duplicate", number=duplicates)

    def _tally(self, counter: Counter, *labels: str, number: int = 1) -> None:
        self._tallies[counter, labels] = self._tallies.get((counter, labels), 0) + number
        self.flush_soon()

    def flush(self) -> None:
        """Write what was counted since the last time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._in_flight.set(self._count)
        self._sockets.set(self._open_sockets)
        for (route, method, status), counts in self._new.items():
            if counts.number:
                self._requests.labels(route, method, str(status)).inc(counts.number)
                counts.move_to(self._seconds.labels(route))
        for (counter, labels), number in self._tallies.items():
            counter.labels(*labels).inc(number)
        self._tallies.clear()
        for part in self._parts:
            part.flush()

    def add(self, part: Flushed) -> None:
        """Have `part` flushed with the others; it calls `flush_soon` when it has something to write."""
        self._parts.append(part)

    def flush_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def gauge(self, runner: str) -> RunnerGauge:
        """The metrics of one runner's queue."""
        gauge = RunnerGauge(self, runner)
        self.add(gauge)
        return gauge

    def content(self) -> tuple[bytes, str]:
        """The metrics of all processes as text, at most FLUSH_S old, and their content type. Reads files."""
        from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

        folder = os.environ.get(MULTIPROC_DIR)
        if not folder:
            return generate_latest(self.registry), CONTENT_TYPE_LATEST
        _forget_the_dead(folder)
        every = CollectorRegistry()
        multiprocess.MultiProcessCollector(every, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(every), CONTENT_TYPE_LATEST


class MetricCounts:
    """Observations of one histogram that are not written yet."""

    __slots__ = ("_bounds", "_buckets", "_sum", "number")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self.number = 0

    def add(self, value: float, number: int = 1) -> None:
        self.number += number
        self._sum += number * value
        self._buckets[bisect_left(self._bounds, value)] += number

    def move_to(self, histogram: Histogram) -> None:
        """What `Histogram.observe` does, for many at once."""
        histogram._sum.inc(self._sum)
        for bucket, number in zip(histogram._buckets, self._buckets, strict=True):
            if number:
                bucket.inc(number)
        self.number, self._sum, self._buckets = 0, 0.0, [0] * len(self._buckets)


class RunnerGauge:
    """What a runner's queue tells: a `batching.QueueGauge`."""

    def __init__(self, telemetry: ServiceMetrics, runner: str) -> None:
        self._telemetry = telemetry
        self._rows = telemetry._batch_rows.labels(runner)
        self._queued = telemetry._queued.labels(runner)
        self._shed = telemetry._shed.labels(runner)
        self._up = telemetry._up.labels(runner)
        self._up.set(0)
        self._new = MetricCounts(BATCH_BUCKETS)
        self._queued_rows = 0

    def batch(self, rows: int, items: int, queued_rows: int) -> None:
        """A call to the runner begins."""
        self._new.add(rows)
        self._queued_rows = queued_rows
        self._telemetry.flush_soon()

    def shed(self) -> None:
        """A request was refused."""
        self._shed.inc()

    def up(self, is_up: bool) -> None:
        """The runner came or went."""
        self._up.set(is_up)

    def flush(self) -> None:
        """Write what was counted since the last time."""
        self._queued.set(self._queued_rows)
        if self._new.number:
            self._new.move_to(self._rows)


def metrics_content() -> tuple[bytes, str]:
    """The metrics of all processes of this service as text, and its content type. For a thread, not an event loop."""
    return service_metrics().content()


def service_metrics() -> ServiceMetrics:
    """This process's metrics, made at the first call."""
    global _telemetry
    if _telemetry is None:
        _telemetry = ServiceMetrics()
    return _telemetry


_telemetry: ServiceMetrics | None = None


def _forget_the_dead(folder: str) -> None:
    """Drop the live gauges of processes that were killed: nobody else would."""
    for path in Path(folder).glob("gauge_live*.db"):
        found = _LIVE_FILE.search(path.name)
        if found and not Path(f"/proc/{found.group(1)}").exists() and Path("/proc/self").exists():
            path.unlink(missing_ok=True)


def metrics_folder_fault() -> str:
    """Why the folder that processes share their metrics in cannot be used, or nothing. BentoML takes another where it
    cannot make it, and not where it is there, empty and read-only: every gateway would end as it starts."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    folder = Path(BentoMLContainer.prometheus_multiproc_dir.get())
    if not folder.is_dir() or any(folder.iterdir()):
        return ""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"the folder of metrics '{folder}' cannot be written ({error.strerror}); remove it, or make it writable"
