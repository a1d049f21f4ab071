"""A flood of batch requests delays interactive ones by at most one batch, counted in calls of the model."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import pytest

from serving.http.priority import HEADER
from tests.live.server import Server, serving, wait_for
from tests.live.test_engine import PROJECT

pytestmark = pytest.mark.live

SLEEP, SLEEPS = -4.0, -8.0
CALL_S = 0.03
FLOOD, REQUESTS = 24, 60


def row(*first: float) -> list[float]:
    return [*first, *[0.0] * (30 - len(first))]


def flood(server: Server, is_over: threading.Event, statuses: list[int]) -> None:
    with httpx.Client(base_url=server.url, timeout=60, headers={HEADER: "batch"}) as client:
        while not is_over.is_set():
            statuses.append(client.post("/sum", json=row(SLEEP, CALL_S)).status_code)


@pytest.mark.parametrize("gateways", [1, 2])
def test_batch_delays_interactive_by_one_batch(
    gateways: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = {
        # Few rows in a batch: without priorities an interactive request would wait for several calls.
        "OVERHEAD_BATCH_ROWS": "2",
        "OVERHEAD_SLEEPS": str(tmp_path / "sleeps"),
        "BENTOML_CONFIG_OPTIONS": f"services.Gateway.workers={gateways}",
    }
    statuses: list[int] = []
    with serving("service:Gateway", folder=PROJECT, env=env) as server:
        is_over = threading.Event()
        clients = [threading.Thread(target=flood, args=(server, is_over, statuses)) for _ in range(FLOOD)]
        for client in clients:
            client.start()
        try:
            wait_for(lambda: len(statuses) >= FLOOD, "the flood is answered")
            delays = []
            with httpx.Client(base_url=server.url, timeout=60, headers={HEADER: "interactive"}) as interactive:
                for _ in range(REQUESTS):
                    answer = interactive.post("/sum", json=row(SLEEPS)).json()
                    # Calls of the flood that started after the request had arrived, and before it was answered.
                    delays.append(answer["sums"][0] - answer["sleeps_before"])
            answered = len(statuses)
        finally:
            is_over.set()
            for client in clients:
                client.join()
    # The flood goes on next to the interactive requests.
    assert answered > FLOOD
    assert set(statuses) == {200}
    with capsys.disabled():
        sys.stdout.write(f" {gateways} gateways, calls waited for: {sorted(Counter(delays).items())} ")
    assert np.percentile(delays, 50) <= 1
    assert np.percentile(delays, 99, method="lower") <= 1
