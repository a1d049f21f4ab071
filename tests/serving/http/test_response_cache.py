"""The response cache: keys, directives, versions, access, lifetime, size, and the Redis store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from serving.context import current_priority
from serving.http.cache_store import ENTRY_BYTES, MemoryStore, RedisStore
from serving.http.response_cache import _pieces, key_of
from serving.redis_client import connect
from serving.runners.interface import ModelRef
from tests.serving.access.credentials import API_KEYS, headers
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import ROW, LocalService, png
from tests.serving.redis_server import Redis

PATH = "/v1/tabular/predict"
ROWS = {"instances": [ROW]}
GATEWAYS = "of-the-gateways-" * 3


@pytest.fixture
def cached() -> LocalService:
    return LocalService(cache_bytes=1 << 20)


def x_cache(answer: httpx.Response) -> str | None:
    assert answer.status_code == 200, answer.text
    status: str | None = answer.headers.get("x-cache")
    return status


def test_the_cache_is_disabled_by_default(local_service: LocalService) -> None:
    assert [x_cache(local_service.post(PATH, json=ROWS)) for _ in range(2)] == [None, None]
    assert len(local_service.table.calls) == 2


def test_an_equal_request_is_answered_without_the_model(cached: LocalService) -> None:
    first, second = cached.post(PATH, json=ROWS), cached.post(PATH, json=ROWS)

    assert (x_cache(first), x_cache(second)) == ("miss", "hit")
    assert first.content == second.content
    assert second.headers["content-type"] == "application/json"
    assert len(cached.table.calls) == 1


def test_spaces_and_the_order_of_keys_do_not_change_the_key(cached: LocalService) -> None:
    cached.post(PATH, json=ROWS)
    turned = {"instances": [dict(reversed(ROW.items()))]}
    assert x_cache(cached.post_json(PATH, json.dumps(turned, indent=4))) == "hit"
    assert x_cache(cached.post(PATH, json={"instances": [ROW | {"age": 34}]})) == "miss"
    assert x_cache(cached.post(PATH, json={"instances": [ROW, ROW]})) == "miss"


def test_the_boundary_of_a_form_does_not_change_the_key(cached: LocalService) -> None:
    answers = [cached.post_image(png()), cached.post_image(png()), cached.post_image(png(), top_k="2"),
               cached.post_image(png((0, 0, 255)))]  # fmt: skip
    assert [x_cache(answer) for answer in answers] == ["miss", "hit", "miss", "miss"]


def test_a_setting_excludes_tabular_predictions() -> None:
    local_service = LocalService(cache_bytes=1 << 20, cache_tables=False)
    assert [x_cache(local_service.post(PATH, json=ROWS)) for _ in range(2)] == [None, None]
    assert [x_cache(local_service.post_image(png())) for _ in range(2)] == ["miss", "hit"]


@in_loop
async def test_no_request_waits_for_an_equal_one_of_the_priority_batch() -> None:
    service, gate = LocalService(cache_bytes=1 << 20), asyncio.Event()
    predict = service.table.predict

    async def predict_slowly(rows: Any, **options: Any) -> Any:
        if current_priority() == "batch":
            await gate.wait()
        return await predict(rows, **options)

    service.table.predict = predict_slowly  # type: ignore[method-assign]
    async with service.client() as client:
        late = asyncio.create_task(client.post(PATH, json=ROWS, headers={"X-Priority": "batch"}))
        await asyncio.sleep(0.05)
        assert x_cache(await client.post(PATH, json=ROWS)) == "miss"
        gate.set()
        assert x_cache(await late) == "miss"
        assert x_cache(await client.post(PATH, json=ROWS, headers={"X-Priority": "batch"})) == "hit"


@pytest.mark.parametrize(("wish", "then"), [("no-cache", "hit"), ("max-age=0", "hit"), ("no-store", "miss")])
def test_cache_control_bypasses_the_cache(cached: LocalService, wish: str, then: str) -> None:
    assert x_cache(cached.post(PATH, json=ROWS, headers={"Cache-Control": wish})) == "bypass"
    assert x_cache(cached.post(PATH, json=ROWS)) == then


def test_errors_are_not_cached(cached: LocalService) -> None:
    bad = {"instances": [ROW | {"age": "old"}]}
    assert [cached.post(PATH, json=bad).status_code for _ in range(2)] == [422, 422]
    cached.table.error = ValueError("once")
    assert cached.post(PATH, json=ROWS).status_code == 500
    cached.table.error = None
    assert x_cache(cached.post(PATH, json=ROWS)) == "miss"


def test_each_version_has_its_own_entries_and_a_reload_clears_them() -> None:
    local_service = LocalService(cache_bytes=1 << 20, api_keys=API_KEYS)
    admin = headers("admin")

    async def run() -> list[str | None]:
        async with local_service.client() as client:

            async def ask() -> str | None:
                return x_cache(await client.post(PATH, json=ROWS, headers=admin))

            statuses = [await ask(), await ask()]
            for _ in range(2):
                reloaded = await client.post("/v1/models/tabular/reload", headers=admin, json={"version": "v1"})
                assert reloaded.status_code == 200
                await asyncio.sleep(0)
                statuses.append(await ask())
            return statuses

    assert asyncio.run(run()) == ["miss", "hit", "miss", "miss"]


def test_a_response_of_another_version_is_not_cached(cached: LocalService) -> None:
    predict = cached.table.predict

    async def changed(rows: Any, *, deadline: float, **options: Any) -> Any:
        answer = await predict(rows, deadline=deadline)
        return type(answer)(answer.values, ModelRef("tabular", "v2"))

    cached.table.predict = changed  # type: ignore[method-assign]
    assert [x_cache(cached.post(PATH, json=ROWS)) for _ in range(2)] == ["miss", "miss"]


def test_an_unauthorized_request_gets_no_cached_response() -> None:
    local_service = LocalService(cache_bytes=1 << 20, api_keys=API_KEYS)
    assert x_cache(local_service.post(PATH, json=ROWS, headers=headers("predict"))) == "miss"
    assert local_service.post(PATH, json=ROWS).status_code == 401
    assert local_service.post(PATH, json=ROWS, headers=headers("read")).status_code == 403


@pytest.mark.parametrize("fails", [False, True])
def test_equal_requests_in_flight_share_one_call_but_not_a_failure(cached: LocalService, fails: bool) -> None:
    predict, calls = cached.table.predict, 0

    async def slow(rows: Any, *, deadline: float, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        first = calls == 1
        await asyncio.sleep(0.1)
        if fails and first:
            raise ValueError("the first one fails")
        return await predict(rows, deadline=deadline)

    cached.table.predict = slow  # type: ignore[method-assign]

    async def run() -> list[httpx.Response]:
        async with cached.client() as client:
            return await asyncio.gather(*(client.post(PATH, json=ROWS) for _ in range(20)))

    answers = asyncio.run(run())
    statuses = sorted(answer.status_code for answer in answers)
    if fails:
        assert (statuses, calls) == ([200] * 19 + [500], 2)
    else:
        assert (statuses, calls) == ([200] * 20, 1)
        assert sorted(answer.headers["x-cache"] for answer in answers) == ["hit"] * 19 + ["miss"]


def test_a_disconnected_client_does_not_fail_waiting_requests(cached: LocalService) -> None:
    predict = cached.table.predict

    async def slow(rows: Any, *, deadline: float, **options: Any) -> Any:
        await asyncio.sleep(0.1)
        return await predict(rows, deadline=deadline)

    cached.table.predict = slow  # type: ignore[method-assign]

    async def run() -> httpx.Response:
        async with cached.client() as client:
            leaving = asyncio.create_task(client.post(PATH, json=ROWS))
            await asyncio.sleep(0.03)
            staying = asyncio.create_task(client.post(PATH, json=ROWS))
            await asyncio.sleep(0.03)
            leaving.cancel()
            return await staying

    assert asyncio.run(run()).status_code == 200


@in_loop
async def test_memory_has_a_maximum_size_and_lifetime() -> None:
    now = 0.0
    store = MemoryStore(100 * (100 + ENTRY_BYTES), 60, clock=lambda: now)
    for number in range(100):
        await store.put(str(number), b"x" * 100)
    assert await store.get("0") is not None
    await store.put("more", b"x" * 100)
    assert await store.get("0") is not None, "it was used last"
    assert await store.get("1") is None
    assert store.used_bytes <= 100 * (100 + ENTRY_BYTES)
    await store.put("huge", b"x" * 40_000)
    assert await store.get("huge") is None
    now = 61.0
    assert await store.get("more") is None
    await store.clear()
    assert (store.used_bytes, await store.get("0")) == (0, None)


def test_redis_is_shared_by_gateways_and_optional(redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    @in_loop
    async def run() -> None:
        here, there = RedisStore(connect(redis.url), 60), RedisStore(connect(redis.url + "?client_name=other"), 60)
        await here.put("a", b"one")
        assert await there.get("a") == b"one"
        assert 0 < await connect(redis.url).pttl("makunouchi:cache:a") <= 60_000
        await there.clear()
        assert await here.get("a") is None
        redis.stop()
        await here.put("b", b"two")
        assert await here.get("b") is None
        assert "responses are not cached" in caplog.text
        await here.close()
        await there.close()

    run()
    connect.cache_clear()


HOSTILE: dict[str, Callable[[bytes], bytes | list[bytes]]] = {
    "garbage": lambda entry: b"\x00garbage",
    "empty": lambda entry: b"",
    "no headers": lambda entry: entry.partition(b"\n")[2],
    "a foreign header": lambda entry: b'{"Set-Cookie":"id=1"}\n' + entry.partition(b"\n")[2],
    "a header with a line break": lambda entry: b'{"Vary":"a\\r\\nSet-Cookie: id=1"}\n' + entry.partition(b"\n")[2],
    "headers that are a list": lambda entry: b"[]\n" + entry.partition(b"\n")[2],
    "another version": lambda entry: entry.replace(b'"v1"', b'"v9"'),
    "a body that is no object": lambda entry: b'{}\n"predictions"',
    "deep nesting": lambda entry: b"{}\n" + b"[" * 100_000,
    "a list in place of text": lambda entry: [entry],
}


@pytest.mark.parametrize("secret", ["", GATEWAYS])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_value_that_others_wrote_is_a_miss(
    what: str, secret: str, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    service = LocalService(cache_bytes=1 << 20, cache_store="redis", redis_url=redis.url, redis_secret=secret)

    @in_loop
    async def run() -> None:
        database = connect(redis.url)
        async with service.client() as client:
            assert x_cache(await client.post(PATH, json=ROWS)) == "miss"
            first = await client.post(PATH, json=ROWS)
            assert x_cache(first) == "hit"
            (key,) = [key async for key in database.scan_iter("makunouchi:cache:*")]
            value = HOSTILE[what](await database.get(key))
            await database.delete(key)
            await (database.rpush(key, *value) if isinstance(value, list) else database.set(key, value))

            answer = await client.post(PATH, json=ROWS)
            assert x_cache(answer) == "miss"
            assert "set-cookie" not in answer.headers
            assert answer.json()["predictions"] == first.json()["predictions"]
            assert x_cache(await client.post(PATH, json=ROWS)) == "hit"
        assert caplog.text.count("Redis has a value that this service did not store (cache); it is ignored") == 1
        await database.aclose()

    run()
    connect.cache_clear()


@pytest.mark.parametrize("change", ["content", "key", "secret", "unsigned"])
def test_a_signed_entry_is_bound_to_its_key_content_and_secret(change: str, redis: Redis) -> None:
    @in_loop
    async def run() -> None:
        database = connect(redis.url)
        store = RedisStore(database, 60, secret=GATEWAYS)
        await store.put("a", b"one")
        assert await store.get("a") == b"one"
        stored = await database.get("makunouchi:cache:a")
        assert stored.endswith(b"one")
        if change == "key":
            await database.set("makunouchi:cache:b", stored)
            assert await store.get("b") is None
        elif change == "secret":
            assert await RedisStore(database, 60, secret=GATEWAYS[1:]).get("a") is None
        else:
            await database.set("makunouchi:cache:a", stored[:-3] + b"two" if change == "content" else b"one")
            assert await store.get("a") is None
        await database.aclose()

    run()
    connect.cache_clear()


def key(body: bytes, content_type: str) -> str:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "server": ("t", 80),
             "scheme": "http", "headers": [(b"content-type", content_type.encode("latin-1"))]}  # fmt: skip
    return asyncio.run(key_of(Request(scope, receive), "op", ModelRef("m", "v")))


KINDS = ("application/json", "image/png", "", "multipart/form-data; boundary=B")


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(KINDS))
def test_different_bodies_have_different_keys(one: bytes, other: bytes, kind: str) -> None:
    if _pieces(one, kind) != _pieces(other, kind):
        assert key(one, kind) != key(other, kind)


def test_a_file_cannot_imitate_a_boundary() -> None:
    split = key(b"--B\r\na\r\n--B\r\nb\r\n--B--", "multipart/form-data; boundary=B")
    whole = key(b"--C\r\na\r\n--B\r\nb\r\n--C--", "multipart/form-data; boundary=C")
    assert split != whole
    assert split == key(b"--C\r\na\r\n--C\r\nb\r\n--C--", "multipart/form-data; boundary=C")
