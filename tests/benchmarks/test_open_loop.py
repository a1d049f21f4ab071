"""The clock of the machine runs here; what is asserted holds on a slow one as well: only lower bounds of waiting."""

from __future__ import annotations

import asyncio
import time

from benchmarks.open_loop import Paced, open_loop
from tests.benchmarks.local_server import Answer, nobody, response, serving

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
OK = response(b"{}")
STALL_S = 0.6


def paced(answer: Answer, *, rate: float, seconds: float, connections: int = 64, drain_s: float = 60.0) -> Paced:
    with serving(answer) as port:
        return asyncio.run(
            open_loop(port, [REQUEST], rate_per_s=rate, seconds=seconds, connections=connections, drain_s=drain_s)
        )


async def at_once(number: int, body: bytes) -> bytes:
    return OK


async def stalls_once(number: int, body: bytes) -> bytes:
    if number == 20:
        time.sleep(STALL_S)  # the whole server, as a garbage collector or a lock would
    return OK


def test_every_request_that_is_due_is_sent_and_counted() -> None:
    seen = paced(at_once, rate=200, seconds=0.5)
    assert (seen.due, seen.answered, seen.failed) == (100, 100, {})


def test_requests_due_during_a_stall_count_with_all_the_time_they_waited() -> None:
    """A closed loop would report one slow request; at 200 a second, 120 fall due in 0.6 s."""
    seen = paced(stalls_once, rate=200, seconds=1.0)
    assert seen.answered == 200
    assert seen.latency_ms["max"] >= STALL_S * 1e3 * 0.95
    # 120 of 200 wait, evenly up to the whole stall: the slowest tenth waits at least two thirds of it.
    assert seen.latency_ms["p90"] >= STALL_S * 1e3 * 2 / 3


def test_one_connection_is_no_excuse_to_send_less() -> None:
    seen = paced(stalls_once, rate=200, seconds=1.0, connections=1)
    assert seen.answered == 200
    assert seen.latency_ms["p90"] >= STALL_S * 1e3 * 2 / 3


def test_an_error_status_is_a_failure() -> None:
    async def refuses_odd_ones(number: int, body: bytes) -> bytes:
        return response(b"no", "503 Service Unavailable") if number % 2 else OK

    seen = paced(refuses_odd_ones, rate=200, seconds=0.2)
    assert (seen.answered, seen.failed) == (20, {"status": 20})


def test_a_connection_that_is_closed_instead_of_an_answer_is_a_failure() -> None:
    async def hangs_up_once(number: int, body: bytes) -> bytes | None:
        return None if number == 5 else OK

    seen = paced(hangs_up_once, rate=100, seconds=0.3)
    assert (seen.due, seen.answered, seen.failed) == (30, 29, {"closed": 1})


def test_an_answer_that_never_comes_is_a_failure_with_the_time_waited() -> None:
    async def never(number: int, body: bytes) -> bytes:
        await asyncio.sleep(600)
        return OK

    seen = paced(never, rate=50, seconds=0.2, drain_s=0.3)
    assert (seen.answered, seen.failed) == (0, {"timeout": 10})
    assert seen.latency_ms["p50"] >= 300


def test_a_server_that_is_not_there_fails_every_request() -> None:
    with nobody() as port:
        seen = asyncio.run(open_loop(port, [REQUEST], rate_per_s=100, seconds=0.2, drain_s=60.0))
    assert (seen.answered, sum(seen.failed.values())) == (0, 20)


def test_a_response_that_closes_its_connection_is_followed_on_another() -> None:
    async def closes(number: int, body: bytes) -> bytes:
        return response(b"{}", extra="Connection: close\r\n")

    seen = paced(closes, rate=100, seconds=0.3)
    assert (seen.answered, seen.failed) == (30, {})


def test_requests_go_out_in_turn() -> None:
    bodies: list[bytes] = []

    async def notes(number: int, body: bytes) -> bytes:
        bodies.append(body)
        return OK

    requests = [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" + letter for letter in (b"a", b"b", b"c")]
    with serving(notes) as port:
        asyncio.run(open_loop(port, requests, rate_per_s=100, seconds=0.3, connections=1, drain_s=60.0))
    assert bodies == [b"a", b"b", b"c"] * 10
