"""Soak test with load and faults: `python -m tests.soak --seconds 600`. It prints responses and memory at intervals.

The exit status is 1 after a wrong or missing response, if a process has grown, or if the service does not recover.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx
import orjson
import psutil  # type: ignore[import-untyped]

from tests.live.load import Footprint, Raw, connected, head
from tests.live.server import ROOT, Server, serving

PROJECT = ROOT / "tests" / "live" / "projects" / "overhead"
RAISE, SLEEP = -1.0, -4.0
RESTART_S = 40.0
# Limit of the memory of a process at the end, relative to its memory after the first quarter.
GROWTH, SLACK_MB = 1.05, 4.0


class Soak:
    """One run. `responses` counts the results of the regular clients by status or error."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.responses: Counter[int | str] = Counter()
        self.is_stopped = False

    async def run(self, *, seconds: float, every_s: float, connections: int, kills: bool) -> list[str]:
        """Run load and faults, and return the failures."""
        ends, clients = time.monotonic() + seconds, [asyncio.create_task(self._client(n)) for n in range(connections)]
        faults = asyncio.create_task(self._faults(kills))
        first: dict[int, float] = {}
        started = time.monotonic()
        while (left_s := ends - time.monotonic()) > 0:
            await asyncio.sleep(min(every_s, left_s))
            memory_mb = self._report(time.monotonic() - started)
            if time.monotonic() - started > seconds / 4:
                first = {**memory_mb, **first}
        self.is_stopped = True
        faults.cancel()
        await asyncio.gather(*clients, faults, return_exceptions=True)
        failures = [f"{number} x {what}" for what, number in self.responses.items() if what not in (200, 503, 504)]
        failures += [task.exception().__repr__() for task in clients if task.exception()]
        await asyncio.to_thread(self.server.wait_ready, timeout_s=RESTART_S)
        for pid, process_mb in self._memory_mb().items():
            if pid in first and process_mb > GROWTH * first[pid] + SLACK_MB:
                failures.append(f"process {pid} grew from {first[pid]:.0f} to {process_mb:.0f} MB")
        return failures

    async def _client(self, number: int) -> None:
        body = orjson.dumps([float(number), *[1.0] * 29])
        while not self.is_stopped:
            async with connected(self.server, 1) as (client,):
                while not self.is_stopped:
                    try:
                        status, headers, payload = await asyncio.wait_for(client.ask(body), 30)
                    except (OSError, EOFError, TimeoutError) as error:
                        self.responses[type(error).__name__] += 1
                        break
                    self.responses[status] += 1
                    if status == 200:
                        assert payload["sums"] == [29.0 + number], payload
                    else:
                        assert status != 503 or "retry-after" in headers
                        await asyncio.sleep(0.05)

    async def _faults(self, kills: bool) -> None:
        """Cause one fault after another until cancelled."""
        faults: list[Callable[[], Awaitable[object]]] = [
            self._reload, self._leave_early, self._reload, self._bad_rows, self._hang, self._slow_upload,
        ]  # fmt: skip
        if kills:
            faults.append(self._kill)
        for fault in itertools.cycle(faults):
            await fault()
            await asyncio.sleep(1)

    async def _reload(self) -> None:
        async with httpx.AsyncClient(base_url=self.server.url, timeout=60) as client:
            await client.post(f"/reload/v{int(time.monotonic())}")

    async def _leave_early(self) -> None:
        async with connected(self.server, 50) as clients:
            for index, client in enumerate(clients):
                client.writer.write(head("POST", "/sum", 200) + bytes(index))
            await asyncio.sleep(0.1)

    async def _bad_rows(self) -> None:
        async with connected(self.server, 20) as clients:
            await asyncio.gather(*(each.ask(orjson.dumps([RAISE, *[0.0] * 29])) for each in clients))

    async def _hang(self) -> None:
        async with connected(self.server, 1) as (client,):
            await client.ask(orjson.dumps([SLEEP, 0.5, *[0.0] * 28]))

    async def _slow_upload(self) -> None:
        async with connected(self.server, 5) as clients:
            await asyncio.gather(*map(_upload_slowly, clients))

    async def _kill(self) -> None:
        self.server.worker("SumRunner").kill()
        await asyncio.sleep(1)
        await asyncio.to_thread(self.server.wait_ready, timeout_s=RESTART_S)

    def _memory_mb(self) -> dict[int, float]:
        """Return the resident memory of each process in MB, by process id."""
        memory = {}
        for process in psutil.Process(self.server.process.pid).children():
            try:
                memory[process.pid] = process.memory_info().rss / 2**20
            except psutil.NoSuchProcess:
                continue
        return memory

    def _report(self, elapsed_s: float) -> dict[int, float]:
        memory_mb = self._memory_mb()
        try:
            footprint = Footprint.of(self.server)
            resources = f"files {footprint.files} tasks {footprint.tasks}"
        except (httpx.TransportError, psutil.Error):
            resources = "restarting"
        each = " ".join(f"{pid}:{process_mb:.1f}" for pid, process_mb in sorted(memory_mb.items()))
        print(f"{elapsed_s:7.0f} s  {dict(self.responses)}  {resources}  MB {each}", flush=True)
        return memory_mb


async def _upload_slowly(client: Raw) -> None:
    client.writer.write(head("POST", "/sum", 100))
    answer = asyncio.create_task(client.answer())
    try:
        while not answer.done():
            client.writer.write(b"[")
            await asyncio.wait([answer], timeout=1)
        assert (await answer)[0] == 408
    finally:
        # The soak test ends while it waits.
        answer.cancel()


def main(options: argparse.Namespace) -> int:
    """Run the soak test and return the exit status."""
    env = {"OVERHEAD_PLACEMENT": options.placement, "OVERHEAD_BODY_TIMEOUT_S": "2"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:
        soak = Soak(server)
        running = soak.run(
            seconds=options.seconds, every_s=options.every, connections=options.connections, kills=options.kills
        )
        failures = asyncio.run(running)
        status = server.stop()
    if status:
        failures.append(f"exit status {status}")
    print("\n".join(failures) or "no failures")
    return 1 if failures else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--every", type=float, default=15, help="seconds between two lines")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--placement", default="process", choices=["process", "inline"])
    parser.add_argument("--kills", action=argparse.BooleanOptionalAction, default=None, help="kill the runner too")
    chosen = parser.parse_args()
    if chosen.kills is None:
        chosen.kills = chosen.placement == "process"
    sys.exit(main(chosen))
