"""The record of each request: metrics and the access log, whichever path answers it."""

from __future__ import annotations

from dataclasses import dataclass

from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics


@dataclass(frozen=True, slots=True)
class RequestRecorder:
    """Counts and logs requests. `route` is a template of a path, never a path."""

    metrics: ServiceMetrics
    access_log: AccessLog | None = None

    def started(self) -> None:
        """Count a request in flight."""
        self.metrics.request_started()

    def released(self) -> None:
        """Stop counting a request in flight that another component records from now on."""
        self.metrics.request_released()

    def ended(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Record the end of a request in flight."""
        self.metrics.request_ended(route, method, status, seconds)
        self._log(request_id, method, route, status, seconds)

    def answered(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        """Record the response to a request that was not counted as in flight."""
        self.metrics.count_response(route, method, status, seconds)
        self._log(request_id, method, route, status, seconds)

    def _log(self, request_id: str, method: str, route: str, status: int, seconds: float) -> None:
        if self.access_log is not None:
            self.access_log.write(request_id, method, route, status, 1000 * seconds)
