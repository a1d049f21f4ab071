"""Metrics of the service in the Prometheus format, summed over all processes of one `bentoml serve`.

Labels come from closed sets: route templates, methods, status codes, runner names. The supervisor gives all processes
a common folder (`PROMETHEUS_MULTIPROC_DIR`); without it the metrics are those of this process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from serving.observability.metric_counts import Flushed, MetricCounts
from serving.observability.multiprocess import exposition
from serving.observability.runner_metrics import RunnerGauge, RunnerMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter

LATENCY_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
FLUSH_S: Final = 1.0


class ServiceMetrics:
    """The metrics of one process. Creating one opens files: create one per process, at its start.

    Counts are collected in memory and written every FLUSH_S: counting one request in the shared files takes 15 us, in
    memory 1 us. Methods that count must be called inside an event loop.
    """

    def __init__(self) -> None:
        # prometheus_client chooses between memory and files by the environment when it is first imported.
        from prometheus_client import CollectorRegistry, Gauge, Histogram

        self.registry: CollectorRegistry = CollectorRegistry()
        self._requests = self._counter("makunouchi_requests", "Requests answered.", "route", "method", "status")
        self._seconds = Histogram(
            "makunouchi_request_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            ["route"],
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        live = {"registry": self.registry, "multiprocess_mode": "livesum"}
        self._in_flight = Gauge("makunouchi_requests_in_flight", "Requests in flight.", **live)  # type: ignore[arg-type]
        self._sockets = Gauge("makunouchi_websockets_open", "Open WebSockets.", **live)  # type: ignore[arg-type]
        self._closed = self._counter("makunouchi_websockets_closed", "WebSockets closed, by close code.", "code")
        self._fast_path = self._counter("makunouchi_express_requests", "Requests answered by the fast path.", "route")
        self._counters: dict[str, Counter] = {}
        self._runners = RunnerMetrics(self.registry)
        self._tallies: dict[tuple[Counter, tuple[str, ...]], int] = {}
        self._responses: dict[tuple[str, str, int], MetricCounts] = {}
        self._parts: list[Flushed] = []
        self._requests_in_flight = 0
        self._open_sockets = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """The number of requests that this process answers now."""
        return self._requests_in_flight

    def request_started(self) -> None:
        """Count a request in flight."""
        self._requests_in_flight += 1

    def request_ended(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count the response to a request in flight, or its end without one."""
        self._requests_in_flight -= 1
        self.count_response(route, method, status, seconds)

    def request_released(self) -> None:
        """Stop counting a request in flight that another component counts from now on."""
        self._requests_in_flight -= 1

    def count_response(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response to a request that was not counted as in flight."""
        counts = self._responses.get((route, method, status))
        if counts is None:
            counts = self._responses[route, method, status] = MetricCounts(LATENCY_BUCKETS_S)
        counts.add(seconds)
        self.schedule_flush()

    def websocket_opened(self) -> None:
        """Count an accepted WebSocket."""
        self._open_sockets += 1
        self.schedule_flush()

    def websocket_closed(self, code: str) -> None:
        """Count the end of an accepted WebSocket."""
        self._open_sockets -= 1
        self.count(self._closed, code)

    def count_fast_path(self, route: str, number: int) -> None:
        """Count requests that the fast path answered."""
        self.count(self._fast_path, route, number=number)

    def counter(self, name: str, description: str, *labels: str) -> Counter:
        """Return the counter `name`; the first call creates it. For the metrics of one component."""
        if name not in self._counters:
            self._counters[name] = self._counter(name, description, *labels)
        return self._counters[name]

    def count(self, counter: Counter, *labels: str, number: int = 1) -> None:
        """Add `number` to a counter."""
        self._tallies[counter, labels] = self._tallies.get((counter, labels), 0) + number
        self.schedule_flush()

    def add(self, part: Flushed) -> None:
        """Flush `part` together with these metrics. It calls `schedule_flush` when it has counts to write."""
        self._parts.append(part)

    def gauge(self, runner: str) -> RunnerGauge:
        """Return the metrics of one runner's queue."""
        gauge = RunnerGauge(self._runners, runner, self.schedule_flush)
        self.add(gauge)
        return gauge

    def schedule_flush(self) -> None:
        """Flush within FLUSH_S."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write all counts."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._in_flight.set(self._requests_in_flight)
        self._sockets.set(self._open_sockets)
        for (route, method, status), counts in self._responses.items():
            if counts.number:
                self._requests.labels(route, method, str(status)).inc(counts.number)
                counts.move_to(self._seconds.labels(route))
        for (counter, labels), number in self._tallies.items():
            counter.labels(*labels).inc(number)
        self._tallies.clear()
        for part in self._parts:
            part.flush()

    def content(self) -> tuple[bytes, str]:
        """Return the metrics of all processes as text, at most FLUSH_S old, and its content type. Reads files."""
        return exposition(self.registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        from prometheus_client import Counter

        return Counter(name, description, labels, registry=self.registry)


def metrics_content() -> tuple[bytes, str]:
    """Return the metrics of all processes of this service as text, and its content type.

    Blocks: call it in a thread.
    """
    return service_metrics().content()


def service_metrics() -> ServiceMetrics:
    """Return the metrics of this process; the first call creates them."""
    global _metrics
    if _metrics is None:
        _metrics = ServiceMetrics()
    return _metrics


_metrics: ServiceMetrics | None = None
