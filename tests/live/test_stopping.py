"""Tests of SIGTERM: requests in flight finish, new requests are refused, and the grace period ends the wait."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from serving.process.graceful_shutdown import KILL_MARGIN_S
from tests.live.load import ROW
from tests.live.server import ANSWER_S, BENTOML_SERVE, END_S, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
HUNG_GRACE_S = 1.0
HUNG = {"OVERHEAD_TIMEOUT_S": "300", "OVERHEAD_GRACE_S": str(HUNG_GRACE_S)}
# The parent's own end, on a machine under load. Without a limit it would wait for 300 s.
EXIT_S = 60.0
SPIN = -7.0
SUPERVISOR = (sys.executable, "-m", "serving.process.supervisor")
# Deadlines and grace period are longer than the test.
NO_TIMEOUTS = {"OVERHEAD_TIMEOUT_S": "300", "OVERHEAD_GRACE_S": "300"}


def requests_in_flight(server: Server) -> int:
    """Return the number of requests in flight of the gateway."""
    return int(server.get("/inside").json()["taken"])


def sockets(server: Server) -> list[Path]:
    """Return the sockets of the runners."""
    return [path for path in server.temporary.glob("bentoml-uds-*/*") if path.is_socket()]


@pytest.mark.parametrize("placement", ["process", "inline"])
def test_sigterm_finishes_requests_in_flight(placement: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    env = {"OVERHEAD_PLACEMENT": placement, "OVERHEAD_GATE": str(gate), **NO_TIMEOUTS}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:

        async def main() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S) as client:
                await client.post("/sum", json=ROW)
                taken = [asyncio.create_task(client.get("/held")) for _ in range(8)]
                await asyncio.to_thread(wait_for, lambda: requests_in_flight(server) == 8, "eight requests in flight")
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(wait_for, lambda: not server.is_ready(), "the gateway is not ready")
                ready = await client.get("/readyz")
                late = await client.post("/sum", json=ROW)
                # The held requests call the runner after the signal, when its socket has been removed.
                await asyncio.to_thread(wait_for, lambda: not sockets(server), "the removal of the sockets")
                gate.touch()
                return await asyncio.gather(*taken), ready, late

        taken, ready, late = asyncio.run(main())
        assert [response.status_code for response in taken] == [200] * 8
        # Clients must not send another request on a closing connection.
        assert [response.headers["connection"] for response in taken] == ["close"] * 8
        assert ready.status_code == 503
        assert late.status_code == 503
        assert "retry-after" in late.headers
        assert server.process.wait(END_S) == 0
        assert not _alive(server)


def test_sigterm_fails_requests_after_the_grace_period() -> None:
    env = {"OVERHEAD_PLACEMENT": "process", **NO_TIMEOUTS, "OVERHEAD_GRACE_S": "1"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:

        async def main() -> httpx.Response:
            async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S) as client:
                taken = asyncio.create_task(client.get("/held"))
                await asyncio.to_thread(wait_for, lambda: requests_in_flight(server) == 1, "the request in flight")
                server.process.send_signal(signal.SIGTERM)
                return await taken

        # The request is held, and its deadline is later than the grace period.
        assert asyncio.run(main()).status_code == 503
        assert server.process.wait(END_S) == 0
        assert not _alive(server)


@pytest.mark.parametrize("program", [BENTOML_SERVE, SUPERVISOR], ids=["bentoml serve", "supervisor"])
def test_sigterm_ends_stopped_processes_after_the_grace_period(program: Sequence[str]) -> None:
    with serving("service:Gateway", folder=PROJECT, program=program, env=HUNG) as server:
        for service in ("SumRunner", "EchoRunner", "Gateway"):
            server.worker(service).suspend()
        _assert_ends_within_the_grace_period(server)


def test_sigterm_ends_endless_loops_after_the_grace_period() -> None:
    with serving("service:Gateway", folder=PROJECT, env=HUNG) as server, ThreadPoolExecutor() as clients:
        clients.submit(call_to_the_end, server, "POST", "/sum", json=[SPIN] * 30)
        spins(server, "SumRunner", "the runner's loop")
        clients.submit(call_to_the_end, server, "GET", "/spin")
        spins(server, "Gateway", "the gateway's loop")
        _assert_ends_within_the_grace_period(server)


def spins(server: Server, service: str, what: str) -> None:
    """Wait until the process uses half a second of processor time, although no other request arrives."""
    process = server.worker(service)
    used_s = process.cpu_times().user
    wait_for(lambda: process.cpu_times().user > used_s + 0.5, what)


def call_to_the_end(server: Server, method: str, path: str, **options: Any) -> None:  # Any: options of httpx
    with suppress(httpx.HTTPError):
        server.request(method, path, **options)


def _assert_ends_within_the_grace_period(server: Server) -> None:
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(END_S) == 0
    assert time.monotonic() - started < HUNG_GRACE_S + KILL_MARGIN_S + EXIT_S
    assert server.processes() == []


@pytest.mark.parametrize("workers", [2, 4])
def test_sigterm_during_the_start_of_the_processes_is_not_lost(workers: int) -> None:
    with serving("service:Gateway", folder=PROJECT, wait=False) as server:
        wait_for(lambda: len(server.processes()) >= workers, "the first processes")
        assert server.stop() == 0
        assert server.processes() == []


def _alive(server: Server) -> list[int]:
    """Return the running processes of the server's process group."""
    pids = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if psutil.os.getpgid(process.pid) == server.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                pids.append(process.pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return pids
