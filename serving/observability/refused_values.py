"""Values from Redis that this service did not store, or that were changed: they are counted, logged and ignored."""

from __future__ import annotations

import logging
import time

from serving.observability.metrics import service_metrics

LOG_EVERY_S = 10.0


class RefusedValues:
    """The values of one `store`, a name for the metric and the log, that were refused. Use it inside an event loop."""

    def __init__(self, store: str, log: logging.Logger) -> None:
        self._store = store
        self._log = log
        self._last_log_s = float("-inf")

    def add(self) -> None:
        """Count one value, and log it unless one was logged a few seconds ago."""
        metrics = service_metrics()
        description = "Values from Redis that were ignored, because this service has not stored them."
        metrics.count(metrics.counter("makunouchi_redis_values_refused", description, "store"), self._store)
        now = time.monotonic()
        if now - self._last_log_s >= LOG_EVERY_S:
            self._last_log_s = now
            self._log.error("Redis has a value that this service did not store (%s); it is ignored", self._store)
