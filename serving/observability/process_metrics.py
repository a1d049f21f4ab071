"""Metrics of the service's processes, read from the record of their supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from serving.process.replacements import read_replacements

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class ProcessMetrics:
    """A collector of prometheus_client: the processes that the supervisor has replaced."""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        from prometheus_client.core import CounterMetricFamily

        replaced = CounterMetricFamily(
            "makunouchi_process_replacements",
            "Processes that were replaced: died, hung, outgrew their memory, or did not start.",
            labels=["process", "reason"],
        )
        for name, replacement in read_replacements().items():
            for reason, number in replacement.counts.items():
                replaced.add_metric([name, reason], number)
        yield replaced
