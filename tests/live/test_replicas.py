"""Several processes of one runner: a killed one costs clients nothing, and is replaced."""

from __future__ import annotations

import asyncio
import sys
import time

import pytest

from tests.live.load import load_and
from tests.live.server import Server, serving, wait_for
from tests.live.test_engine import PROJECT

pytestmark = pytest.mark.live

REPLICAS, KILLS = 2, 3


def replicas_up(server: Server) -> list[int]:
    up: list[int] = server.get("/readyz").json()["runners"]["replicas of sum"]
    return up


def test_a_killed_process_costs_no_request_and_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"OVERHEAD_REPLICAS": str(REPLICAS), "OVERHEAD_BATCH_ROWS": "4", "OVERHEAD_FAST_PATH": "0"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:
        wait_for(lambda: replicas_up(server) == [2, 2], "both processes are up")

        def kill() -> None:
            for number in range(KILLS):
                name = ("SumRunner", "SumRunner_2")[number % 2]
                with server.held():
                    server.worker(name).kill()
                    wait_for(lambda: replicas_up(server) == [1, 2], "the loss is seen")
                    assert server.get("/readyz").status_code == 200
                    time.sleep(0.5)
                wait_for(lambda: replicas_up(server) == [2, 2], "the process is replaced")

        result = asyncio.run(load_and(server.url, kill, connections=16, seconds=0.5))
        assert set(result.seen) == {200}
        assert result.seen[200] > 100
        time.sleep(1.1)  # until the counts are written
        metrics = server.get("/metrics").text
        assert 'makunouchi_runner_replicas{runner="sum"} 2.0' in metrics
        assert 'makunouchi_runner_replicas_up{runner="sum"} 2.0' in metrics
        with capsys.disabled():
            sys.stdout.write(f" {KILLS} kills, requests by status: {dict(result.seen)} ")
