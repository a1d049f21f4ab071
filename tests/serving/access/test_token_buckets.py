"""Token buckets: bursts and refilling, in memory and in a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access.token_buckets import MemoryTokenBuckets, Rate, RedisTokenBuckets, TokenBucketsUnavailable
from serving.redis_client import connect
from tests.serving.event_loop import in_loop
from tests.serving.redis_server import Redis


@in_loop
async def test_a_bucket_refills() -> None:
    now = 100.0
    buckets = MemoryTokenBuckets(clock=lambda: now)
    rate = Rate(3, 60)

    assert [(await buckets.take("a", rate)).remaining for _ in range(3)] == [2, 1, 0]
    refused = await buckets.take("a", rate)
    assert (refused.is_allowed, refused.remaining) == (False, 0)
    assert refused.retry_after_s == pytest.approx(20)
    assert refused.reset_s == pytest.approx(60)
    assert (await buckets.take("b", rate)).is_allowed

    now += 19.9
    assert not (await buckets.take("a", rate)).is_allowed
    now += 0.2
    assert (await buckets.take("a", rate)).is_allowed
    assert not (await buckets.take("a", rate)).is_allowed
    now += 600
    assert (await buckets.take("a", rate)).remaining == 2


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200), st.integers(1, 20), st.floats(0.5, 100))
def test_no_window_allows_more_than_twice_the_burst(waits: list[float], burst: int, period: float) -> None:
    now = 0.0
    buckets, rate, allowed = MemoryTokenBuckets(clock=lambda: now), Rate(burst, period), []
    for wait in waits:
        now += wait
        if _take(buckets, rate):
            allowed.append(now)
    for start in allowed:
        inside = [moment for moment in allowed if start <= moment < start + period]
        assert len(inside) <= 2 * burst


def _take(buckets: MemoryTokenBuckets, rate: Rate) -> bool:
    coroutine = buckets.take("a", rate)
    try:
        coroutine.send(None)
    except StopIteration as done:
        return bool(done.value.is_allowed)
    raise AssertionError("memory does not wait")


@in_loop
async def test_memory_is_bounded_and_full_buckets_are_dropped_first() -> None:
    now = 0.0
    buckets = MemoryTokenBuckets(clock=lambda: now, max_callers=10)
    rate = Rate(2, 60)
    for number in range(1000):
        await buckets.take(f"caller {number}", rate)
        assert len(buckets._full_at) <= 10
    now += 1000
    await buckets.take("spender", rate)
    await buckets.take("spender", rate)
    for number in range(8):
        await buckets.take(f"other {number}", rate)
    assert not (await buckets.take("spender", rate)).is_allowed


@pytest.mark.parametrize("value", ["garbage", "", "nan", "inf", "1e300", "-5", ["a", "list"]])
def test_a_value_in_redis_that_others_wrote_is_a_full_bucket(
    value: str | list[str], redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    @in_loop
    async def run() -> None:
        database = connect(redis.url)
        buckets, rate = RedisTokenBuckets(database), Rate(2, 60)
        if isinstance(value, list):
            await database.rpush("makunouchi:rate:a", *value)
        else:
            await database.set("makunouchi:rate:a", value)
        assert [(await buckets.take("a", rate)).is_allowed for _ in range(3)] == [True, True, False]
        assert (await buckets.take("b", rate)).remaining == 1
        assert 0 < await database.pttl("makunouchi:rate:a") <= 60_001
        is_logged = "Redis has a value that this service did not store (rate limits)" in caplog.text
        assert is_logged == (value != "-5"), "a time in the past is a bucket that is full again"
        await database.aclose()

    run()
    connect.cache_clear()


def test_gateways_share_the_buckets_in_redis(redis: Redis) -> None:
    @in_loop
    async def run() -> None:
        here, there = (
            RedisTokenBuckets(connect(redis.url)),
            RedisTokenBuckets(connect(redis.url + "?client_name=other")),
        )
        rate = Rate(10, 3600)
        verdicts = await asyncio.gather(*(side.take("a", rate) for side in (here, there) for _ in range(10)))

        assert sum(verdict.is_allowed for verdict in verdicts) == 10
        assert sorted(verdict.remaining for verdict in verdicts if verdict.is_allowed) == list(range(10))
        refused = await here.take("a", rate)
        assert 0 < refused.retry_after_s <= 360
        assert (await there.take("b", rate)).remaining == 9
        client = connect(redis.url)
        assert 0 < await client.pttl("makunouchi:rate:b") <= 361_000
        await here.close()
        await there.close()

    run()
    connect.cache_clear()


def test_a_bucket_in_redis_refills(redis: Redis) -> None:
    @in_loop
    async def run() -> None:
        client = connect(redis.url)
        buckets, rate = RedisTokenBuckets(client), Rate(2, 3600)
        assert [(await buckets.take("a", rate)).is_allowed for _ in range(3)] == [True, True, False]
        # As if half the period had passed.
        (key,) = await client.keys("*")
        await client.set(key, float(await client.get(key)) - 1800, keepttl=True)
        assert [(await buckets.take("a", rate)).is_allowed for _ in range(2)] == [True, False]
        await buckets.close()

    run()
    connect.cache_clear()


def test_an_unavailable_redis_raises_until_it_responds_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.redis_client.OPEN_S", 0.1)

    @in_loop
    async def run() -> None:
        buckets, rate = RedisTokenBuckets(connect(redis.url)), Rate(2, 60)
        assert (await buckets.take("a", rate)).is_allowed
        redis.stop()
        for _ in range(3):
            with pytest.raises(TokenBucketsUnavailable):
                await buckets.take("a", rate)
        redis.start()
        # Longer than OPEN_S.
        await asyncio.sleep(0.2)
        assert (await buckets.take("a", rate)).is_allowed
        await buckets.close()

    run()
    connect.cache_clear()
