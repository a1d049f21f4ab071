"""Clients and hosts that misbehave, with the real server: what was seen is counted, and nothing stays behind."""

from __future__ import annotations

import asyncio
import resource
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
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
Answered = tuple[int, dict[str, str], Any]
BODY = orjson.dumps(ROW)
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lets go what is held in that server, once it is there."""
    return tmp_path_factory.mktemp("hurt") / "gate"


@pytest.fixture(scope="module")
def hurt(gate: Path) -> Iterator[Server]:
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
def server(hurt: Server) -> Server:
    """A server that other tests have hurt, well again."""
    hurt.wait_ready()
    return hurt


def sleeping(seconds: float) -> bytes:
    return orjson.dumps([SLEEP, seconds, *[0.0] * 28])


def is_answered(server: Server) -> bool:
    response = server.post("/sum", json=ROW)
    return response.status_code == 200 and response.json()["sums"] == [30.0]


def test_ten_thousand_idle_connections_cost_nobody_else(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    number = 10_000 if hard == resource.RLIM_INFINITY else min(10_000, hard - 1000)
    if number < 10_000:
        with capsys.disabled():
            print(f"\n{number} idle connections only: the hard limit of open files is {hard}")  # noqa: T201
    gateway = server.worker("Gateway")

    async def hold() -> None:
        async with connected(server, number) as held:
            await asyncio.to_thread(wait_for, lambda: gateway.num_fds() >= number, f"{number} connections")
            assert await asyncio.to_thread(is_answered, server)
            assert await asyncio.to_thread(server.is_ready)
            # They are no dead weight: each can be asked.
            answers = [await each.ask(BODY) for each in held[:: number // 100]]
            assert {status for status, _, _ in answers} == {200}

    before = Footprint.of(server)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(hold())
        settle(server, before, more_mb=400)
        # What the allocator kept is used again.
        again = Footprint.of(server)
        asyncio.run(hold())
        settle(server, again)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_burst_of_twenty_times_the_capacity_is_shed_at_once_and_probes_never(server: Server, gate: Path) -> None:
    before = Footprint.of(server)
    number = 20 * QUEUE_ROWS

    async def burst() -> tuple[list[Answered], list[Answered], set[int]]:
        async with (
            connected(server, number + 2) as clients,
            httpx.AsyncClient(base_url=server.url, timeout=ANSWER_S) as probe,
        ):
            blocker, first, *crowd = clients
            # So slow once, and the model is asked in a thread from then on.
            await first.ask(sleeping(0.1))
            blocked = asyncio.create_task(blocker.ask(orjson.dumps([HOLD, *[0.0] * 29])))
            await asyncio.to_thread(wait_for, lambda: taken_of(server) == 1, "the one that blocks")
            asked = [asyncio.create_task(each.ask(BODY)) for each in crowd]
            probes = {
                (await probe.get(path)).status_code for _ in range(5) for path in ("/readyz", "/livez", "/metrics")
            }
            # Each is refused, or in the gateway: nobody is on the way to it.
            while sum(each.done() for each in asked) + await asyncio.to_thread(taken_of, server) < number + 1:
                await asyncio.sleep(0.05)
            at_once = [await each for each in asked if each.done()]
            later = [each for each in asked if not each.done()]
            gate.touch()
            await blocked
            return at_once, await asyncio.gather(*later), probes

    at_once, later, probes = asyncio.run(burst())
    assert probes == {200}
    # Nobody who was refused waited for what was under way.
    assert {status for status, _, _ in at_once} == {503}
    assert len(at_once) > number / 2
    assert len(later) >= QUEUE_ROWS
    assert {status for status, _, _ in later} == {200}
    assert all(headers["retry-after"] == "1" for _, headers, _ in at_once)
    assert all(headers["content-type"] == "application/problem+json" for _, headers, _ in at_once)
    settle(server, before)
    assert is_answered(server)


def taken_of(server: Server) -> int:
    """Requests in flight of the gateway."""
    return int(server.get("/inside").json()["taken"])


def test_a_body_of_one_byte_a_second_is_a_408_and_holds_nobody(server: Server) -> None:
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
            assert await asyncio.to_thread(is_answered, server)
            for status, headers, elapsed_s in await uploads:
                assert status == 408
                assert headers["connection"] == "close"
                assert BODY_TIMEOUT_S - 0.1 < elapsed_s < TIMEOUT_S

    asyncio.run(main())
    settle(server, before)


def test_an_answer_that_is_not_read_is_cut_off_at_the_deadline(server: Server) -> None:
    before = Footprint.of(server)

    async def main() -> None:
        async with connected(server, 20) as clients:
            for client in clients:
                client.writer.write(head("GET", "/large", 0, "x-request-timeout: 5"))
                assert await client.reader.read(10) == b"HTTP/1.1 2"
            # They stay, and read no further: the server lets go.
            await asyncio.to_thread(settle, server, before, more_mb=64)
            for client in clients:
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await client.reader.readexactly(64 << 20)

    asyncio.run(main())
    assert is_answered(server)


@pytest.mark.parametrize("moment", ["mid-upload", "while it waits", "mid-response"])
def test_a_client_that_goes_away_leaves_nothing(server: Server, moment: str) -> None:
    before = Footprint.of(server)

    async def main() -> None:
        async with connected(server, 8 if moment == "mid-response" else 64) as clients:
            for client in clients:
                if moment == "mid-upload":
                    client.writer.write(head("POST", "/sum", len(BODY)) + BODY[: len(BODY) // 2])
                elif moment == "while it waits":
                    client.writer.write(head("POST", "/sum", len(sleeping(1))) + sleeping(1))
                else:
                    client.writer.write(head("GET", "/large", 0))
                    await client.reader.readexactly(10_000)
            assert await asyncio.to_thread(server.is_ready)

    asyncio.run(main())
    settle(server, before, more_mb=64, timeout_s=30)
    # Sixty-four seconds of work for nobody would still be under way.
    assert is_answered(server)


def test_a_gateway_killed_under_load_is_back_and_its_runners_stay(server: Server) -> None:
    runner = server.worker("SumRunner").pid
    seen = asyncio.run(load_and(server.url, server.worker("Gateway").kill, connections=16, seconds=8))
    lost = sum(number for kind, number in seen.seen.items() if isinstance(kind, str))
    assert {kind for kind in seen.seen if not isinstance(kind, str)} <= {200, 503}, seen.seen
    # Those in flight at the moment, and who waited in the backlog of the socket for the next one; nobody else.
    assert lost <= 2 * 16, seen.seen
    server.wait_ready()
    assert is_answered(server)
    assert server.worker("SumRunner").pid == runner


def test_a_full_disk_under_the_logs_loses_lines_only() -> None:
    with serving("service:Gateway", folder=PROJECT, output=Path("/dev/full")) as server:
        seen = load(server.url, connections=16, seconds=3)
        assert set(seen.seen) == {200}, seen.seen
        before = Footprint.of(server)
        for _ in range(50):
            assert server.get("/fail").status_code == 500
        seen = load(server.url, connections=16, seconds=3)
        assert set(seen.seen) == {200}, seen.seen
        settle(server, before)
        # 120 is Python's own: it could not flush what it printed.
        assert server.stop() in (0, 120)


@pytest.mark.skipif(not FAKETIME.exists(), reason="needs Debian's libfaketime; test_clocks.py reads the source instead")
def test_a_jump_of_the_wall_clock_is_noticed_by_nobody(tmp_path: Path) -> None:
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
        assert is_answered(server)
        year = subprocess.run(["date", "-u", "+%F %H"], env=env, capture_output=True, text=True, check=True).stdout
        assert year != subprocess.run(["date", "-u", "+%F %H"], capture_output=True, text=True, check=True).stdout


def test_two_gateways_share_a_runner_that_merges_what_they_send() -> None:
    env = {"OVERHEAD_CALLS_IN_FLIGHT": "4", "OVERHEAD_BATCH_ROWS": "4"}
    with serving("service:SumRunner", folder=PROJECT) as runner, serving("service:EchoRunner", folder=PROJECT) as echo:
        env["OVERHEAD_PLACEMENT"] = f"{runner.url},{echo.url}"
        with (
            serving("service:Gateway", folder=PROJECT, env=env) as one,
            serving("service:Gateway", folder=PROJECT, env=env) as other,
        ):

            async def both() -> tuple[Counter[int | str], Counter[int | str]]:
                loads = Load(), Load()
                await asyncio.gather(
                    *(
                        each.run(gateway.url, connections=32, seconds=4)
                        for each, gateway in zip(loads, (one, other), strict=True)
                    ),
                    asyncio.to_thread(block, one),
                )
                return loads[0].seen, loads[1].seen

            seen = asyncio.run(both())
            assert [set(each) for each in seen] == [{200}, {200}], seen
            largest = one.post("/sum", json=[LARGEST, *[0.0] * 29]).json()["sums"][0]
            # No gateway sends more than four rows in a call.
            assert largest > 4
            # One of them dies: the other's clients notice nothing.
            rest = asyncio.run(load_and(other.url, one.worker("Gateway").kill, connections=16, seconds=2))
            assert set(rest.seen) == {200}, rest.seen


def block(server: Server) -> None:
    """Have the runner think for a while, so that calls meet there."""
    for _ in range(10):
        assert server.post("/sum", content=sleeping(0.1)).status_code == 200
