"""The folder in which the processes of one service share their metrics."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.observability.process_metrics import ProcessMetrics
from serving.process.startup import METRICS_FOLDER

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_LIVE_GAUGE_FILE: Final = re.compile(r"gauge_live\w*_(\d+)\.db\Z")


def exposition(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Return the metrics of all processes as text, and its content type. Reads files.

    Without a shared folder these are the metrics of `registry`.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

    folder = os.environ.get(METRICS_FOLDER)
    if not folder:
        return generate_latest(registry), CONTENT_TYPE_LATEST
    _remove_gauges_of_dead_processes(folder)
    all_processes = CollectorRegistry()
    multiprocess.MultiProcessCollector(all_processes, path=folder)  # type: ignore[no-untyped-call]
    all_processes.register(ProcessMetrics())
    return generate_latest(all_processes), CONTENT_TYPE_LATEST


def _remove_gauges_of_dead_processes(folder: str) -> None:
    """Remove the live gauges of killed processes; prometheus_client removes them only at a regular exit."""
    for path in Path(folder).glob("gauge_live*.db"):
        match = _LIVE_GAUGE_FILE.search(path.name)
        if match and not Path(f"/proc/{match.group(1)}").exists() and Path("/proc/self").exists():
            path.unlink(missing_ok=True)
