"""Metrics: the sum over processes, the removal of dead ones, buffered counts, and the shared folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram

from serving.observability.metrics import ServiceMetrics
from serving.process.replacements import Replacements
from serving.process.startup import STARTED_FOLDER
from serving.runners.interface import ModelRef, RunnerStatus
from serving.runners.readiness import readiness
from tests.serving.event_loop import in_loop

ROOT = Path(__file__).parents[3]
ONE_PROCESS = """
import asyncio
from serving.observability.metrics import service_metrics
async def main():
    service_metrics().request_started()
    service_metrics().request_ended("/x", "GET", 200, 0.003)
    service_metrics().gauge("sum").up(True)
    service_metrics().gauge("sum").batch(3)
    service_metrics().gauge("sum").queued(5, "interactive")
    service_metrics().flush()
asyncio.run(main())
"""
READ = "from serving.observability.metrics import metrics_content; print(metrics_content()[0].decode())"


def run(code: str, folder: Path) -> str:
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_processes_are_summed_and_dead_ones_are_removed(tmp_path: Path) -> None:
    for _ in range(3):
        run(ONE_PROCESS, tmp_path)
    text = run(READ, tmp_path)
    assert 'makunouchi_requests_total{method="GET",route="/x",status="200"} 3.0' in text
    assert 'makunouchi_request_seconds_bucket{le="0.005",route="/x"} 3.0' in text
    assert 'makunouchi_request_seconds_bucket{le="0.0025",route="/x"} 0.0' in text
    assert 'makunouchi_batch_rows_sum{runner="sum"} 9.0' in text
    # The processes ended without clean-up, like killed ones: their live gauges are removed.
    assert "makunouchi_queued_rows{" not in text


def test_replacements_of_processes_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STARTED_FOLDER, str(tmp_path / "supervisor"))
    (tmp_path / "supervisor").mkdir()
    (tmp_path / "metrics").mkdir()
    replacements = Replacements(tmp_path / "supervisor")
    for reason in ("hung", "memory", "hung"):
        replacements.add("ImageRunner", reason, "")
    text = run(READ, tmp_path / "metrics")
    assert 'makunouchi_process_replacements_total{process="ImageRunner",reason="hung"} 2.0' in text
    assert 'makunouchi_process_replacements_total{process="ImageRunner",reason="memory"} 1.0' in text


@in_loop
async def test_buffered_counts_equal_single_observations() -> None:
    metrics = ServiceMetrics()
    for number in range(1000):
        metrics.request_started()
        metrics.request_ended("/x", "GET", 200 if number % 10 else 503, number / 1000)
        if number % 300 == 0:
            metrics.flush()
    metrics.flush()
    metrics.flush()
    text = metrics.content()[0].decode()
    assert 'makunouchi_request_seconds_count{route="/x"} 1000.0' in text
    # 0, 1, ... 100 ms: the bound belongs to its bucket.
    assert 'makunouchi_request_seconds_bucket{le="0.1",route="/x"} 101.0' in text
    assert 'status="503"} 100.0' in text
    assert 'status="200"} 900.0' in text


class Watched:
    def __init__(self, name: str, is_ready: bool) -> None:
        self.name = name
        self.last_status = RunnerStatus(ready=is_ready, model=ModelRef(name, "v1") if is_ready else None)


def test_the_service_is_ready_when_every_runner_is_and_it_is_not_stopping() -> None:
    up, down = Watched("a", True), Watched("b", False)
    assert readiness([up, Watched("c", True)]).is_ready
    assert not readiness([up, down]).is_ready
    assert readiness([up, down]).runners["b"].ready is False
    assert not readiness([up], is_stopping=lambda: True).is_ready


def test_prometheus_histograms_have_the_private_parts_that_are_written() -> None:
    histogram = Histogram("parts", "Parts.", ["a"], buckets=(1, 2), registry=CollectorRegistry()).labels("x")
    histogram._sum.inc(3)
    histogram._buckets[0].inc(2)
    assert len(histogram._buckets) == 3


def test_watches_are_reported_by_every_process(tmp_path: Path) -> None:
    code = (
        """
import logging, threading, time
from models.watch import Watch
from serving.observability.watch_metrics import report_watches
report_watches()
report_watches()
watch = Watch("keys", "read the keys", keeps="the previous ones remain", log=logging.getLogger())
def fail():
    for error in (OSError(2, "gone"), OSError(2, "gone"), OSError(5, "broken")):
        watch.fail(error)
thread = threading.Thread(target=fail)
thread.start()
thread.join()
"""
        + READ
    )
    text = run(code, tmp_path)
    assert 'makunouchi_watch_faults_total{watch="keys"} 2.0' in text
    assert 'makunouchi_watch_failing{watch="keys"} 1.0' in text
