"""The circuit breaker of Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from serving.redis_client import OPEN_S, CircuitOpen, RedisCircuitBreaker, RedisUnavailable
from tests.serving.event_loop import in_loop


@in_loop
async def test_the_result_of_a_call_is_returned() -> None:
    async def ping() -> bytes:
        return b"PONG"

    assert await RedisCircuitBreaker().call(ping) == b"PONG"


@pytest.mark.parametrize("error", [RedisConnectionError("refused"), OSError("refused"), TimeoutError("refused")])
def test_a_failed_call_opens_the_circuit_for_a_fixed_time(error: Exception) -> None:
    now, calls = 0.0, 0

    async def fail() -> None:
        nonlocal calls
        calls += 1
        raise error

    @in_loop
    async def run() -> None:
        nonlocal now
        breaker = RedisCircuitBreaker(clock=lambda: now)
        with pytest.raises(RedisUnavailable, match="refused"):
            await breaker.call(fail)
        with pytest.raises(CircuitOpen):
            await breaker.call(fail)
        assert calls == 1
        now += OPEN_S
        with pytest.raises(RedisUnavailable, match="refused"):
            await breaker.call(fail)
        assert calls == 2

    run()


@in_loop
async def test_a_call_that_takes_too_long_is_unavailable() -> None:
    with pytest.raises(RedisUnavailable, match="TimeoutError"):
        await RedisCircuitBreaker().call(lambda: asyncio.sleep(60), timeout_s=0.01)


@in_loop
async def test_other_errors_pass_through_and_leave_the_circuit_closed() -> None:
    async def fail() -> None:
        raise ValueError("a bug")

    breaker = RedisCircuitBreaker()
    for _ in range(2):
        with pytest.raises(ValueError, match="a bug"):
            await breaker.call(fail)
