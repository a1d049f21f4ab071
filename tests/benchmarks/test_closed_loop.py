from __future__ import annotations

import asyncio
import shutil

import pytest

from benchmarks.closed_loop import closed_loop, parse
from benchmarks.http_request import HttpRequest
from tests.benchmarks.stub_server import response, serving, unused_port

OUTPUT = """Running 1s test @ http://127.0.0.1:1
RESULT {"requests": 100, "duration_us": 2000000, "connect": 0, "read": 1, "write": 0, "status": 20, "timeout": 0, \
"p50": 1500.0, "p90": 2000.0, "p99": 3000.0, "p99.9": 3500.0, "max": 4000.0, "mean": 1600.0}
"""


def request(body: bytes) -> HttpRequest:
    return HttpRequest("/x", "text/plain", body, lambda body: body, lambda result, expected: bool(result == expected))


def test_failed_requests_do_not_count_as_throughput() -> None:
    load = parse(OUTPUT)
    assert (load.successful_per_s, load.failed) == (40.0, {"read": 1, "status": 20})


def test_latencies_are_in_milliseconds() -> None:
    assert parse(OUTPUT).latency_ms["p50"] == 1.5


def test_a_load_without_responses_has_no_latencies() -> None:
    load = parse(OUTPUT.replace('"requests": 100', '"requests": 0'))
    assert (load.latency_ms, load.successful_per_s) == ({}, 0)


def test_output_without_a_result_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no result"):
        parse("unable to connect")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_wrk_sends_the_requests_in_turn_and_counts_error_statuses() -> None:
    seen: list[bytes] = []

    async def reject_b(number: int, body: bytes) -> bytes:
        seen.append(body)
        await asyncio.sleep(0.002)
        return response(b"no", "500 Internal Server Error") if body == b"b" else response(b"yes")

    with serving(reject_b) as port:
        load = closed_loop(port, [request(b"a"), request(b"b"), request(b"c")], connections=1, seconds=1)
    # wrk calls the script once before the load, to detect pipelined requests.
    assert seen[:6] == [b"b", b"c", b"a"] * 2
    assert load.failed == {"status": sum(body == b"b" for body in seen[: load.requests])}


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_a_server_that_does_not_listen_results_in_failed_requests() -> None:
    with unused_port() as port:
        load = closed_loop(port, [request(b"a")], connections=4, seconds=1)
    assert (load.requests, load.failed, load.successful_per_s) == (0, {"connect": 4}, 0)
