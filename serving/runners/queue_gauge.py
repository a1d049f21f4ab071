"""What a queue reports to the metrics of its runner."""

from __future__ import annotations

from typing import Protocol

from serving.context import Priority


class QueueGauge(Protocol):
    """Metrics of the queues of a runner."""

    def batch(self, rows: int) -> None: ...

    def queued(self, rows: int, priority: Priority) -> None: ...

    def shed(self, priority: Priority) -> None: ...

    def up(self, is_up: bool) -> None: ...

    def replicas(self, up: int, number: int) -> None: ...
