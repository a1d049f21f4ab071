"""These tests use the real clock. They assert only lower bounds of latencies, which also hold on a slow machine."""

from __future__ import annotations

import asyncio
import time

import pytest

from benchmarks.open_loop import OpenLoopResult, open_loop
from tests.benchmarks.stub_server import Respond, response, serving, unused_port

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
OK = response(b"{}")
STALL_S = 0.6


def load(
    respond: Respond, *, rate: float, seconds: float, connections: int = 64, drain_s: float = 60.0
) -> OpenLoopResult:
    with serving(respond) as port:
        return asyncio.run(
            open_loop(port, [REQUEST], rate_per_s=rate, seconds=seconds, connections=connections, drain_s=drain_s)
        )


async def respond_at_once(number: int, body: bytes) -> bytes:
    return OK


async def stall_once(number: int, body: bytes) -> bytes:
    if number == 20:
        time.sleep(STALL_S)  # blocks the whole server, like a garbage collection or a lock
    return OK


def test_every_due_request_is_sent_and_counted() -> None:
    result = load(respond_at_once, rate=200, seconds=0.5)
    assert (result.due, result.answered, result.failed) == (100, 100, {})


@pytest.mark.slow
def test_the_latency_of_requests_due_during_a_stall_includes_the_stall() -> None:
    """A closed loop would measure one slow request. At 200 per second, 120 requests are due in 0.6 s."""
    result = load(stall_once, rate=200, seconds=1.0)
    assert result.answered == 200
    assert result.latency_ms["max"] >= STALL_S * 1e3 * 0.95
    # 120 of 200 requests wait, evenly distributed up to the whole stall: p90 is at least two thirds of it.
    assert result.latency_ms["p90"] >= STALL_S * 1e3 * 2 / 3


@pytest.mark.slow
def test_the_rate_does_not_depend_on_the_number_of_connections() -> None:
    result = load(stall_once, rate=200, seconds=1.0, connections=1)
    assert result.answered == 200
    assert result.latency_ms["p90"] >= STALL_S * 1e3 * 2 / 3


def test_an_error_status_is_a_failure() -> None:
    async def reject_odd_ones(number: int, body: bytes) -> bytes:
        return response(b"no", "503 Service Unavailable") if number % 2 else OK

    result = load(reject_odd_ones, rate=200, seconds=0.2)
    assert (result.answered, result.failed) == (20, {"status": 20})


def test_a_connection_closed_without_a_response_is_a_failure() -> None:
    async def close_once(number: int, body: bytes) -> bytes | None:
        return None if number == 5 else OK

    result = load(close_once, rate=100, seconds=0.3)
    assert (result.due, result.answered, result.failed) == (30, 29, {"closed": 1})


def test_a_missing_response_is_a_failure_with_the_time_waited() -> None:
    async def never(number: int, body: bytes) -> bytes:
        await asyncio.sleep(600)
        return OK

    result = load(never, rate=50, seconds=0.2, drain_s=0.3)
    assert (result.answered, result.failed) == (0, {"timeout": 10})
    assert result.latency_ms["p50"] >= 300


def test_every_request_fails_if_no_server_listens() -> None:
    with unused_port() as port:
        result = asyncio.run(open_loop(port, [REQUEST], rate_per_s=100, seconds=0.2, drain_s=60.0))
    assert (result.answered, sum(result.failed.values())) == (0, 20)


def test_the_next_request_after_connection_close_uses_another_connection() -> None:
    async def close(number: int, body: bytes) -> bytes:
        return response(b"{}", extra="Connection: close\r\n")

    result = load(close, rate=100, seconds=0.3)
    assert (result.answered, result.failed) == (30, {})


def test_requests_are_sent_in_turn() -> None:
    bodies: list[bytes] = []

    async def record(number: int, body: bytes) -> bytes:
        bodies.append(body)
        return OK

    requests = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" + letter for letter in (b"a", b"b", b"c")]
    with serving(record) as port:
        asyncio.run(open_loop(port, requests, rate_per_s=100, seconds=0.3, connections=1, drain_s=60.0))
    assert bodies == [b"a", b"b", b"c"] * 10
