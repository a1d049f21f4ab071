"""Tests of a real server against faulty clients and hosts: responses, and no leaked resources."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.live.load import ROW, Footprint, Load, Raw, connected, head, load, load_and, settle
from tests.live.server import ANSWER_S, Server, serving, wait_for

pytestmark = pytest.mark.live

PROJECT = Path(__file__).parent / "projects" / "overhead"
TIMEOUT_S, BODY_TIMEOUT_S, QUEUE_ROWS = 60.0, 2.0, 64
SLEEP, LARGEST, HOLD = -4.0, -5.0, -6.0
Response = tuple[int, dict[str, str], Any]
BODY = orjson.dumps(ROW)
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose existence ends the held predictions of `fault_server`."""
    return tmp_path_factory.mktemp("faults") / "gate"


@pytest.fixture(scope="module")
def fault_server(gate: Path) -> Iterator[Server]:
    env = {
        "OVERHEAD_GATE": str(gate),
        "OVERHEAD_TIMEOUT_S": str(TIMEOUT_S),
        "OVERHEAD_BODY_TIMEOUT_S": str(BODY_TIMEOUT_S),
        "OVERHEAD_QUEUE_ROWS": str(QUEUE_ROWS),
    }
    with serving("service:Gateway", folder=PROJECT, env=env) as running:
        load(running.url, connections=16, seconds=1)
        yield running


@pytest.fixture
def server(fault_server: Server) -> Server:
    """The shared server, after it has recovered from the previous test."""
    fault_server.wait_ready()
    return fault_server


def sleeping(seconds: float) -> bytes:
    return orjson.dumps([SLEEP, seconds, *[0.0] * 28])


def is_predicting(server: Server) -> bool:
    response = server.post("/sum", json=ROW)
    return response.status_code == 200 and response.json()["sums"] == [30.0]


def test_ten_thousand_idle_connections_do_not_affect_others(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = 10_000 if hard == resource.RLIM_INFINITY else min(10_000, hard - 1000)
    if number < 10_000:
        with capsys.disabled():
            print(f"\nonly {number} idle connections: the hard limit of open files is {hard}")  # noqa: T201
    gateway = server.worker("Gateway")

    async def hold() -> None:
        async with connected(server, number) as idle:
            await asyncio.to_thread(wait_for, lambda: gateway.num_fds() >= number, f"{number} connections")
            assert await asyncio.to_thread(is_predicting, server)
            assert await asyncio.to_thread(server.is_ready)
            # The idle connections still work.
            answers = [await each.ask(BODY) for each in idle[:: number // 100]]
            assert {status for status, _, _ in answers} == {200}

    before = Footprint.of(server)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(hold())
        settle(server, before, more_mb=400)
        # The allocator reuses the memory that it retained.
        after_first = Footprint.of(server)
        asyncio.run(hold())
        settle(server, after_first)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_overload_is_refused_at_once_and_probes_always_succeed(server: Server, gate: Path) -> None:
    before = Footprint.of(server)
    number = 20 * QUEUE_ROWS

    async def burst() -> tuple[list[Response], list[Response], set[int]]:
        async with (
            connected(server, number + 2) as clients,
            httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S) as probe,
        ):
            blocker, first, *others = clients
            # After a slow batch, predictions run in a thread.
            await first.ask(sleeping(0.1))
            blocked = asyncio.create_task(blocker.ask(orjson.dumps([HOLD, *[0.0] * 29])))
            await asyncio.to_thread(wait_for, lambda: taken_of(server) == 1, "the blocking prediction")
            requests = [asyncio.create_task(each.ask(BODY)) for each in others]
            probes = {
                (await probe.get(path)).status_code for _ in range(5) for path in ("/readyz", "/livez", "/metrics")
            }
            # Wait until each request is refused or in flight.
            while sum(each.done() for each in requests) + await asyncio.to_thread(taken_of, server) < number + 1:
                await asyncio.sleep(0.05)
            at_once = [await each for each in requests if each.done()]
            later = [each for each in requests if not each.done()]
            gate.touch()
            await blocked
            return at_once, await asyncio.gather(*later), probes

    at_once, later, probes = asyncio.run(burst())
    assert probes == {200}
    # No refused request waited for the requests in flight.
    assert {status for status, _, _ in at_once} == {503}
    assert len(at_once) > number / 2
    assert len(later) >= QUEUE_ROWS
    assert {status for status, _, _ in later} == {200}
    assert all(headers["retry-after"] == "1" for _, headers, _ in at_once)
    assert all(headers["content-type"] == "application/problem+json" for _, headers, _ in at_once)
    settle(server, before)
    assert is_predicting(server)


def taken_of(server: Server) -> int:
    """Return the number of requests in flight of the gateway."""
    return int(server.get("/inside").json()["taken"])


def test_slow_upload_is_408_and_delays_no_other_request(server: Server) -> None:
    before = Footprint.of(server)

    async def upload(client: Raw) -> tuple[int, dict[str, str], float]:
        started = time.monotonic()
        client.writer.write(head("POST", "/sum", 100))
        answer = asyncio.create_task(client.answer())
        while not answer.done():
            client.writer.write(b"[")
            await asyncio.wait([answer], timeout=1)
        status, headers, document = await answer
        assert document["type"] == "/problems/body-timeout"
        return status, headers, time.monotonic() - started

    async def main() -> None:
        async with connected(server, 50) as clients:
            uploads = asyncio.gather(*map(upload, clients))
            assert await asyncio.to_thread(is_predicting, server)
            for status, headers, elapsed_s in await uploads:
                assert status == 408
                assert headers["connection"] == "close"
                assert BODY_TIMEOUT_S - 0.1 < elapsed_s < TIMEOUT_S

    asyncio.run(main())
    settle(server, before)


def test_unread_response_is_aborted_at_the_deadline(server: Server) -> None:
    before = Footprint.of(server)

    async def main() -> None:
        async with connected(server, 20) as clients:
            for client in clients:
                client.writer.write(head("GET", "/large", 0, "x-request-timeout: 5"))
                assert await client.reader.read(10) == b"HTTP/1.1 2"
            # The clients stop reading: the server closes the connections, also that of the last response to start.
            await asyncio.sleep(6)
            await asyncio.to_thread(settle, server, before, more_mb=64)
            for client in clients:
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await client.reader.readexactly(64 << 20)

    asyncio.run(main())
    assert is_predicting(server)


@pytest.mark.parametrize("moment", ["upload", "prediction", "response"])
def test_disconnected_client_leaks_no_resources(server: Server, moment: str) -> None:
    before = Footprint.of(server)

    async def main() -> None:
        async with connected(server, 8 if moment == "response" else 64) as clients:
            for client in clients:
                if moment == "upload":
                    client.writer.write(head("POST", "/sum", len(BODY)) + BODY[: len(BODY) // 2])
                elif moment == "prediction":
                    client.writer.write(head("POST", "/sum", len(sleeping(1))) + sleeping(1))
                else:
                    client.writer.write(head("GET", "/large", 0))
                    await client.reader.readexactly(10_000)
            assert await asyncio.to_thread(server.is_ready)

    asyncio.run(main())
    settle(server, before, more_mb=64, timeout_s=30)
    # Without cancellation, 64 seconds of predictions would still be queued.
    assert is_predicting(server)


def test_gateway_killed_under_load_restarts_and_runners_keep_running(server: Server) -> None:
    runner = server.worker("SumRunner").pid
    seen = asyncio.run(load_and(server.url, server.worker("Gateway").kill, connections=16, seconds=8))
    lost = sum(number for kind, number in seen.seen.items() if isinstance(kind, str))
    assert {kind for kind in seen.seen if not isinstance(kind, str)} <= {200, 503}, seen.seen
    # Only requests in flight, and connections in the backlog of the socket, may fail.
    assert lost <= 2 * 16, seen.seen
    server.wait_ready()
    assert is_predicting(server)
    assert server.worker("SumRunner").pid == runner


def test_full_log_disk_loses_only_log_lines() -> None:
    with serving("service:Gateway", folder=PROJECT, output=Path("/dev/full")) as server:
        seen = load(server.url, connections=16, seconds=3)
        assert set(seen.seen) == {200}, seen.seen
        before = Footprint.of(server)
        for _ in range(50):
            assert server.get("/fail").status_code == 500
        seen = load(server.url, connections=16, seconds=3)
        assert set(seen.seen) == {200}, seen.seen
        settle(server, before)
        # Python exits with 120 when it cannot flush its output.
        assert server.stop() in (0, 120)


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs Debian's libfaketime; test_clocks.py reads the source instead")
def test_wall_clock_jumps_do_not_affect_requests(tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text("+0")
    env = {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        "OVERHEAD_TIMEOUT_S": str(TIMEOUT_S),
    }  # fmt: skip
    with serving("service:Gateway", folder=PROJECT, env=env) as server:

        def jump() -> None:
            for jumped in ("+3600", "-7200", "+0"):
                offset.write_text(jumped)
                date = server.get("/livez").headers["date"]
                assert date
                time.sleep(0.7)

        seen = asyncio.run(load_and(server.url, jump, connections=16, seconds=4))
        assert set(seen.seen) == {200}, seen.seen
        assert seen.slowest_s < TIMEOUT_S
        offset.write_text("+36000")
        response = server.get("/slow/20", headers={"X-Request-Timeout": "1"})
        assert response.status_code == 504
        offset.write_text("-36000")
        server.wait_ready()
        assert is_predicting(server)
        year = subprocess.run(["date", "-u", "+%F %H"], env=env, capture_output=True, text=True, check=True).stdout
        assert year != subprocess.run(["date", "-u", "+%F %H"], capture_output=True, text=True, check=True).stdout


def test_runner_merges_batches_of_two_gateways() -> None:
    env = {"OVERHEAD_CALLS_IN_FLIGHT": "4", "OVERHEAD_BATCH_ROWS": "4"}
    with (
        serving("service:SumRunner", folder=PROJECT, wait=False) as runner,
        serving("service:EchoRunner", folder=PROJECT, wait=False) as echo,
    ):
        env["OVERHEAD_PLACEMENT"] = f"{runner.url},{echo.url}"
        with (
            serving("service:Gateway", folder=PROJECT, env=env, wait=False) as one,
            serving("service:Gateway", folder=PROJECT, env=env, wait=False) as other,
        ):
            one.wait_ready()
            other.wait_ready()

            async def both() -> tuple[Counter[int | str], Counter[int | str]]:
                loads = Load(), Load()
                await asyncio.gather(
                    *(
                        each.run(gateway.url, connections=32, seconds=4)
                        for each, gateway in zip(loads, (one, other), strict=True)
                    ),
                    asyncio.to_thread(block, one, loads),
                )
                return loads[0].seen, loads[1].seen

            seen = asyncio.run(both())
            assert [set(each) for each in seen] == [{200}, {200}], seen
            largest = one.post("/sum", json=[LARGEST, *[0.0] * 29]).json()["sums"][0]
            # A gateway sends at most four rows in a call.
            assert largest > 4
            # When one gateway dies, requests to the other still succeed.
            load_of_other = asyncio.run(load_and(other.url, one.worker("Gateway").kill, connections=16, seconds=2))
            assert set(load_of_other.seen) == {200}, load_of_other.seen


def block(server: Server, loads: Sequence[Load]) -> None:
    """Keep the runner busy while `loads` run, so that calls of both gateways wait in its queue."""
    while not any(each.is_over for each in loads):
        assert server.post("/sum", content=sleeping(0.1)).status_code == 200
