"""SIGTERM to the real server: what was taken is answered, nothing new is taken, and after a while it is given up."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.live.load import ROW
from tests.live.server import ANSWER_S, END_S, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
# For what a test holds: neither its own deadline nor the grace period is over before the test lets it go.
PATIENT = {"OVERHEAD_TIMEOUT_S": "300", "OVERHEAD_GRACE_S": "300"}


def taken_of(server: Server) -> int:
    """Requests in flight of the gateway."""
    return int(server.get("/inside").json()["taken"])


@pytest.mark.parametrize("placement", ["process", "inline"])
def test_sigterm_finishes_what_was_taken(placement: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    env = {"OVERHEAD_PLACEMENT": placement, "OVERHEAD_GATE": str(gate), **PATIENT}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:

        async def main() -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S) as client:
                await client.post("/sum", json=ROW)
                taken = [asyncio.create_task(client.get("/held")) for _ in range(8)]
                await asyncio.to_thread(wait_for, lambda: taken_of(server) == 8, "eight requests in flight")
                server.process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(wait_for, lambda: not server.is_ready(), "readiness false")
                ready = await client.get("/readyz")
                late = await client.post("/sum", json=ROW)
                # They ask the runner only after the signal, when its socket has been removed.
                await asyncio.sleep(2)
                gate.touch()
                return await asyncio.gather(*taken), ready, late

        taken, ready, late = asyncio.run(main())
        assert [response.status_code for response in taken] == [200] * 8
        # Nobody sends the next request on a connection that ends.
        assert [response.headers["connection"] for response in taken] == ["close"] * 8
        assert ready.status_code == 503
        assert late.status_code == 503
        assert "retry-after" in late.headers
        assert server.process.wait(END_S) == 0
        assert not _alive(server)


def test_sigterm_gives_up_after_the_grace_period() -> None:
    env = {"OVERHEAD_PLACEMENT": "process", **PATIENT, "OVERHEAD_GRACE_S": "1"}
    with serving("service:Gateway", folder=PROJECT, env=env) as server:

        async def main() -> httpx.Response:
            async with httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S) as client:
                taken = asyncio.create_task(client.get("/held"))
                await asyncio.to_thread(wait_for, lambda: taken_of(server) == 1, "the request in flight")
                server.process.send_signal(signal.SIGTERM)
                return await taken

        # Nobody lets it go, and its own deadline is far away.
        assert asyncio.run(main()).status_code == 503
        assert server.process.wait(END_S) == 0
        assert not _alive(server)


def _alive(server: Server) -> list[int]:
    """Processes of the server's group that still run."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if psutil.os.getpgid(process.pid) == server.process.pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found
