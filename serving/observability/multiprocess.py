"""The folder in which the processes of one service share their metrics."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving.observability.process_metrics import ProcessMetrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

MULTIPROC_DIR: Final = "PROMETHEUS_MULTIPROC_DIR"
_LIVE_GAUGE_FILE: Final = re.compile(r"gauge_live\w*_(\d+)\.db\Z")


def exposition(registry: CollectorRegistry) -> tuple[bytes, str]:
    """Return the metrics of all processes as text, and its content type. Reads files.

    Without a shared folder these are the metrics of `registry`.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess

    folder = os.environ.get(MULTIPROC_DIR)
    if not folder:
        return generate_latest(registry), CONTENT_TYPE_LATEST
    _remove_gauges_of_dead_processes(folder)
    all_processes = CollectorRegistry()
    multiprocess.MultiProcessCollector(all_processes, path=folder)  # type: ignore[no-untyped-call]
    all_processes.register(ProcessMetrics())
    return generate_latest(all_processes), CONTENT_TYPE_LATEST


def metrics_folder_fault() -> str:
    """Return why the shared folder cannot be used, or an empty string.

    BentoML chooses another folder when it cannot create this one, but not when it exists, is empty and read-only: every
    gateway would then exit at its start.
    """
    from bentoml._internal.configuration.containers import BentoMLContainer

    folder = Path(BentoMLContainer.prometheus_multiproc_dir.get())
    if not folder.is_dir() or any(folder.iterdir()):
        return ""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"the metrics folder '{folder}' is not writable ({error.strerror}); remove it or make it writable"


def _remove_gauges_of_dead_processes(folder: str) -> None:
    """Remove the live gauges of killed processes; prometheus_client removes them only at a regular exit."""
    for path in Path(folder).glob("gauge_live*.db"):
        match = _LIVE_GAUGE_FILE.search(path.name)
        if match and not Path(f"/proc/{match.group(1)}").exists() and Path("/proc/self").exists():
            path.unlink(missing_ok=True)
