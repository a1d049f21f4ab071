"""Tests of processes that hang or outgrow their memory: they are named and replaced, and clients see few errors."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.live.load import ROW, Load
from tests.live.server import END_S, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
TIMEOUT_S = 4.0
# From the end of the time limit to the end of the process: two beats, a check, and the drain of a gateway take 3 s. On
# a machine under load every check is late.
KILLED_S = 60.0
SLEEP, SPIN, DEADLOCK, LEAK = -4.0, -7.0, -9.0, -10.0
CONNECTIONS = 4
ENV = {"OVERHEAD_TIMEOUT_S": str(TIMEOUT_S), "OVERHEAD_GRACE_S": "5", "OVERHEAD_ACCESS_LOG": "0"}
# A new process loads so slowly that clients of `/readyz` see why: in its first second, a lost runner is being checked.
SLOW_LOAD = {"OVERHEAD_LOAD_S": "2"}


def command(server: Server, number: float, value: float = 0.0) -> None:
    """Send a command to the model and do not wait for its response: a queued call of a client that left is skipped."""

    def send() -> None:
        with contextlib.suppress(httpx.TransportError):
            server.post("/sum", json=[number, value, *[0.0] * 28])

    threading.Thread(target=send, daemon=True).start()


HANGS: dict[str, Callable[[Server, str], None]] = {
    "stopped": lambda server, service: server.worker(service).suspend(),
    "endless loop": lambda server, service: command(server, SPIN),
    "deadlock": lambda server, service: command(server, DEADLOCK),
}


class Clients:
    """Clients of both runners, and what `/readyz` reported."""

    def __init__(self, server: Server) -> None:
        self.sums = Load()
        self.echoes: Counter[int | str] = Counter()
        self.details: set[str] = set()
        self.is_unready = False
        self._server = server

    async def run(self, act: Callable[[], None]) -> None:
        """Send requests while `act` runs in a thread."""
        sums = asyncio.create_task(
            self.sums.run(self._server.url, connections=CONNECTIONS, seconds=float("inf"), pause_s=0.01)
        )
        others = [asyncio.create_task(each) for each in (self._echo(), self._watch_readiness())]
        try:
            await asyncio.to_thread(act)
        finally:
            self.sums.end()
            await asyncio.gather(sums, *others)

    async def _echo(self) -> None:
        async with httpx.AsyncClient(base_url=self._server.url, timeout=END_S) as client:
            while not self.sums.is_over:
                try:
                    self.echoes[(await client.post("/echo", json=[{"a": 1}])).status_code] += 1
                except httpx.TransportError as error:
                    self.echoes[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async def _watch_readiness(self) -> None:
        async with httpx.AsyncClient(base_url=self._server.url, timeout=END_S) as client:
            while not self.sums.is_over:
                with contextlib.suppress(httpx.TransportError):
                    response = await client.get("/readyz")
                    self.is_unready |= response.status_code == 503
                    self.details |= {detail for _, detail in response.json()["runners"].values() if detail}
                await asyncio.sleep(0.05)


def replace(server: Server, service: str, act: Callable[[], None], *, within_s: float) -> Clients:
    """Run `act` under load and wait until a process of `service` is killed within `within_s` and replaced."""
    # After a slow batch, predictions run in a thread.
    server.post("/sum", json=[SLEEP, 0.1, *[0.0] * 28])
    old = server.worker(service)
    clients = Clients(server)

    def run() -> None:
        wait_for(lambda: clients.sums.seen[200] > CONNECTIONS, "clients are answered")
        act()
        wait_for(lambda: not old.is_running(), f"{service} is killed", timeout_s=within_s)
        server.wait_ready()
        answered = clients.sums.seen[200]
        wait_for(lambda: clients.sums.seen[200] > answered + CONNECTIONS, "clients are answered again")

    asyncio.run(clients.run(run))
    return clients


def replacements(server: Server) -> dict[tuple[str, str], float]:
    found = re.findall(
        r'^makunouchi_process_replacements_total\{process="(\w+)",reason="(\w+)"\} ([\d.]+)$',
        server.get("/metrics").text,
        re.MULTILINE,
    )
    return {(process, reason): float(number) for process, reason, number in found}


@pytest.mark.parametrize("hang", HANGS)
def test_a_runner_that_hangs_is_replaced(hang: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving("service:Gateway", folder=PROJECT, env={**ENV, **SLOW_LOAD}) as server:
        started = time.monotonic()
        clients = replace(server, "SumRunner", lambda: HANGS[hang](server, "SumRunner"), within_s=TIMEOUT_S + KILLED_S)
        report(capsys, f"a runner, {hang}", clients, time.monotonic() - started)
        # Those who wait when it hangs get 504, and while no process answers 503; the calls in flight are sent again.
        assert set(clients.sums.seen) <= {200, 503, 504}
        assert clients.sums.seen[504] <= 2 * CONNECTIONS
        assert clients.sums.without_retry_after == 0
        assert set(clients.echoes) == {200}
        assert clients.is_unready
        assert "a new process is starting" in "; ".join(clients.details)
        assert replacements(server) == {("SumRunner", "hung"): 1}
        assert re.search(r"SumRunner \(process \d+\) is killed and restarted: .*MAKUNOUCHI_HANG_TIMEOUT_S", server.log)
        assert server.stop() == 0


@pytest.mark.parametrize("hang", HANGS)
def test_a_gateway_in_which_a_model_hangs_is_replaced(hang: str, capsys: pytest.CaptureFixture[str]) -> None:
    env = {**ENV, "OVERHEAD_PLACEMENT": "inline"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:
        started = time.monotonic()
        clients = replace(server, "Gateway", lambda: HANGS[hang](server, "Gateway"), within_s=TIMEOUT_S + KILLED_S)
        report(capsys, f"a gateway, {hang}", clients, time.monotonic() - started)
        # At most one lost connection for each client, and further ones at the end of its drain.
        lost = sum(number for status, number in clients.sums.seen.items() if isinstance(status, str))
        assert lost <= 3 * CONNECTIONS
        assert clients.sums.without_retry_after == 0
        assert replacements(server) == {("Gateway", "hung"): 1}
        assert server.stop() == 0


def test_a_runner_that_outgrows_its_memory_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    bound = 400 << 20
    # Calls in flight wait for the new process.
    env = {**ENV, **SLOW_LOAD, "OVERHEAD_MEMORY_BYTES": str(bound), "OVERHEAD_TIMEOUT_S": "30"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:
        started = time.monotonic()
        clients = replace(server, "SumRunner", lambda: command(server, LEAK, bound >> 20), within_s=KILLED_S)
        report(capsys, "memory", clients, time.monotonic() - started)
        assert set(clients.sums.seen) <= {200, 503}
        assert clients.sums.without_retry_after == 0
        assert set(clients.echoes) == {200}
        assert "more than its bound of 400 MiB" in "; ".join(clients.details)
        assert replacements(server) == {("SumRunner", "memory"): 1}


def test_a_suspended_service_goes_on_without_replacements() -> None:
    with serving("service:Gateway", folder=PROJECT, env=ENV) as server:
        processes = server.processes()
        # The runner has a call in flight, and the machine sleeps for longer than every limit.
        command(server, SLEEP, TIMEOUT_S / 2)
        time.sleep(0.5)
        for process in processes:
            process.suspend()
        time.sleep(2 * TIMEOUT_S)
        for process in processes:
            process.resume()
        wait_for(lambda: server.post("/sum", json=ROW).status_code == 200, "a prediction")
        time.sleep(TIMEOUT_S)
        assert server.processes() == processes
        assert replacements(server) == {}


def test_a_process_that_does_not_start_in_time_is_killed() -> None:
    env = {**ENV, **SLOW_LOAD, "OVERHEAD_START_S": "0.5"}
    with serving("service:Gateway", folder=PROJECT, env=env, wait=False) as server:
        assert server.process.wait(END_S) == 1
        assert "it has not started within 0.5 s" in server.log
        assert "MAKUNOUCHI_START_TIMEOUT_S" in server.log


def test_threads_and_processors_of_runners_are_bounded() -> None:
    env = {**ENV, "OVERHEAD_THREADS": "1", "OVERHEAD_CPUS": "[0]"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:
        assert server.get("/bounds").json() == {"blas": [1], "cpus": [0]}
        assert server.worker("Gateway").cpu_affinity() == psutil.Process().cpu_affinity()


def report(capsys: pytest.CaptureFixture[str], name: str, clients: Clients, seconds: float) -> None:
    with capsys.disabled():
        seen = {**clients.sums.seen}
        print(f"\n{name}: {seconds:.1f} s to the replacement; clients {seen}, of others {dict(clients.echoes)}")  # noqa: T201
