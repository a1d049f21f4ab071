from __future__ import annotations

import asyncio
import shutil

import pytest

from benchmarks.closed_loop import closed_loop, parse
from benchmarks.questions import Question
from tests.benchmarks.local_server import nobody, response, serving

PRINTED = """Running 1s test @ http://127.0.0.1:1
RESULT {"requests": 100, "duration_us": 2000000, "connect": 0, "read": 1, "write": 0, "status": 20, "timeout": 0, \
"p50": 1500.0, "p90": 2000.0, "p99": 3000.0, "p99.9": 3500.0, "max": 4000.0, "mean": 1600.0}
"""


def question(body: bytes) -> Question:
    return Question("/x", "text/plain", body, lambda found: found, lambda found, expected: found == expected)


def test_failed_requests_are_no_throughput() -> None:
    load = parse(PRINTED)
    assert (load.answered_per_s, load.failed) == (40.0, {"read": 1, "status": 20})


def test_latencies_are_in_milliseconds() -> None:
    assert parse(PRINTED).latency_ms["p50"] == 1.5


def test_a_load_without_any_answer_has_no_latency_instead_of_the_best_one() -> None:
    load = parse(PRINTED.replace('"requests": 100', '"requests": 0'))
    assert (load.latency_ms, load.answered_per_s) == ({}, 0)


def test_output_without_a_result_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no result"):
        parse("unable to connect")


def test_a_question_is_a_whole_request() -> None:
    assert question(b"ab").encoded("h:1") == (
        b"POST /x HTTP/1.1\r\nHost: h:1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
        b"Accept: application/json\r\n\r\nab"
    )


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_every_question_in_turn_and_counts_error_statuses() -> None:
    seen: list[bytes] = []

    async def refuses_b(number: int, body: bytes) -> bytes:
        seen.append(body)
        await asyncio.sleep(0.002)
        return response(b"no", "500 Internal Server Error") if body == b"b" else response(b"yes")

    with serving(refuses_b) as port:
        load = closed_loop(port, [question(b"a"), question(b"b"), question(b"c")], connections=1, seconds=1)
    # wrk makes the first request once more before it starts, to see whether there are several in it.
    assert seen[:6] == [b"b", b"c", b"a"] * 2
    assert load.failed == {"status": sum(body == b"b" for body in seen[: load.requests])}


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_server_that_is_not_there_has_failed_and_ends_no_run() -> None:
    with nobody() as port:
        load = closed_loop(port, [question(b"a")], connections=4, seconds=1)
    assert (load.requests, load.failed, load.answered_per_s) == (0, {"connect": 4}, 0)
