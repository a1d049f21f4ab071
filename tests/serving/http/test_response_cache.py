"""Repeated answers: when, for whom, for how long, within which bytes, and what a new version does to them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

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


@pytest.fixture
def keeping() -> LocalService:
    return LocalService(cache_bytes=1 << 20)


def x_cache(answer: httpx.Response) -> str | None:
    assert answer.status_code == 200, answer.text
    said: str | None = answer.headers.get("x-cache")
    return said


def test_nothing_is_kept_unless_a_setting_says_so(local_service: LocalService) -> None:
    assert [x_cache(local_service.post(PATH, json=ROWS)) for _ in range(2)] == [None, None]
    assert len(local_service.table.calls) == 2


def test_the_second_equal_request_is_answered_without_the_model(keeping: LocalService) -> None:
    first, second = keeping.post(PATH, json=ROWS), keeping.post(PATH, json=ROWS)

    assert (x_cache(first), x_cache(second)) == ("miss", "hit")
    assert first.content == second.content
    assert second.headers["content-type"] == "application/json"
    assert len(keeping.table.calls) == 1


def test_spaces_and_the_order_of_keys_do_not_matter_and_values_do(keeping: LocalService) -> None:
    keeping.post(PATH, json=ROWS)
    turned = {"instances": [dict(reversed(ROW.items()))]}
    assert x_cache(keeping.post_json(PATH, json.dumps(turned, indent=4))) == "hit"
    assert x_cache(keeping.post(PATH, json={"instances": [ROW | {"age": 34}]})) == "miss"
    assert x_cache(keeping.post(PATH, json={"instances": [ROW, ROW]})) == "miss"


def test_images_are_the_same_whatever_the_boundary_of_the_form(keeping: LocalService) -> None:
    answers = [keeping.post_image(png()), keeping.post_image(png()), keeping.post_image(png(), top_k="2"),
               keeping.post_image(png((0, 0, 255)))]  # fmt: skip
    assert [x_cache(answer) for answer in answers] == ["miss", "hit", "miss", "miss"]


def test_tables_may_be_left_out() -> None:
    local_service = LocalService(cache_bytes=1 << 20, cache_tables=False)
    assert [x_cache(local_service.post(PATH, json=ROWS)) for _ in range(2)] == [None, None]
    assert [x_cache(local_service.post_image(png())) for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize(("wish", "then"), [("no-cache", "hit"), ("max-age=0", "hit"), ("no-store", "miss")])
def test_a_client_may_ask_for_a_new_answer(keeping: LocalService, wish: str, then: str) -> None:
    assert x_cache(keeping.post(PATH, json=ROWS, headers={"Cache-Control": wish})) == "bypass"
    assert x_cache(keeping.post(PATH, json=ROWS)) == then


def test_errors_are_not_kept(keeping: LocalService) -> None:
    bad = {"instances": [ROW | {"age": "old"}]}
    assert [keeping.post(PATH, json=bad).status_code for _ in range(2)] == [422, 422]
    keeping.table.error = ValueError("once")
    assert keeping.post(PATH, json=ROWS).status_code == 500
    keeping.table.error = None
    assert x_cache(keeping.post(PATH, json=ROWS)) == "miss"


def test_another_version_is_another_answer_and_a_reload_empties() -> None:
    local_service = LocalService(cache_bytes=1 << 20, api_keys=API_KEYS)
    admin = headers("admin")

    async def run() -> list[str | None]:
        async with local_service.client() as client:

            async def ask() -> str | None:
                return x_cache(await client.post(PATH, json=ROWS, headers=admin))

            said = [await ask(), await ask()]
            for _ in range(2):
                reloaded = await client.post("/v1/models/tabular/reload", headers=admin, json={"version": "v1"})
                assert reloaded.status_code == 200
                await asyncio.sleep(0)
                said.append(await ask())
            return said

    assert asyncio.run(run()) == ["miss", "hit", "miss", "miss"]


def test_an_answer_of_another_version_than_was_meant_is_not_kept(keeping: LocalService) -> None:
    kept = keeping.table.predict

    async def changed(rows: Any, *, deadline: float, **asked: Any) -> Any:
        answer = await kept(rows, deadline=deadline)
        return type(answer)(answer.values, ModelRef("tabular", "v2"))

    keeping.table.predict = changed  # type: ignore[method-assign]
    assert [x_cache(keeping.post(PATH, json=ROWS)) for _ in range(2)] == ["miss", "miss"]


def test_who_may_not_ask_gets_no_kept_answer() -> None:
    local_service = LocalService(cache_bytes=1 << 20, api_keys=API_KEYS)
    assert x_cache(local_service.post(PATH, json=ROWS, headers=headers("predict"))) == "miss"
    assert local_service.post(PATH, json=ROWS).status_code == 401
    assert local_service.post(PATH, json=ROWS, headers=headers("read")).status_code == 403


@pytest.mark.parametrize("fails", [False, True])
def test_equal_requests_in_flight_are_asked_once_and_a_failure_is_not_shared(
    keeping: LocalService, fails: bool
) -> None:
    kept, calls = keeping.table.predict, 0

    async def slow(rows: Any, *, deadline: float, **asked: Any) -> Any:
        nonlocal calls
        calls += 1
        first = calls == 1
        await asyncio.sleep(0.1)
        if fails and first:
            raise ValueError("the first one fails")
        return await kept(rows, deadline=deadline)

    keeping.table.predict = slow  # type: ignore[method-assign]

    async def run() -> list[httpx.Response]:
        async with keeping.client() as client:
            return await asyncio.gather(*(client.post(PATH, json=ROWS) for _ in range(20)))

    answers = asyncio.run(run())
    statuses = sorted(answer.status_code for answer in answers)
    if fails:
        assert (statuses, calls) == ([200] * 19 + [500], 2)
    else:
        assert (statuses, calls) == ([200] * 20, 1)
        assert sorted(answer.headers["x-cache"] for answer in answers) == ["hit"] * 19 + ["miss"]


def test_a_client_that_leaves_does_not_fail_those_who_wait_for_the_same(keeping: LocalService) -> None:
    kept = keeping.table.predict

    async def slow(rows: Any, *, deadline: float, **asked: Any) -> Any:
        await asyncio.sleep(0.1)
        return await kept(rows, deadline=deadline)

    keeping.table.predict = slow  # type: ignore[method-assign]

    async def run() -> httpx.Response:
        async with keeping.client() as client:
            leaving = asyncio.create_task(client.post(PATH, json=ROWS))
            await asyncio.sleep(0.03)
            staying = asyncio.create_task(client.post(PATH, json=ROWS))
            await asyncio.sleep(0.03)
            leaving.cancel()
            return await staying

    assert asyncio.run(run()).status_code == 200


@in_loop
async def test_memory_keeps_to_its_bytes_and_to_its_time() -> None:
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


def test_redis_keeps_for_all_gateways_and_is_not_missed_when_gone(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
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


def key(body: bytes, content_type: str) -> str:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "server": ("t", 80),
             "scheme": "http", "headers": [(b"content-type", content_type.encode("latin-1"))]}  # fmt: skip
    return asyncio.run(key_of(Request(scope, receive), "op", ModelRef("m", "v")))


KINDS = ("application/json", "image/png", "", "multipart/form-data; boundary=B")


@given(st.binary(max_size=60), st.binary(max_size=60), st.sampled_from(KINDS))
def test_other_bodies_have_other_keys_unless_they_say_the_same(one: bytes, other: bytes, kind: str) -> None:
    if _pieces(one, kind) != _pieces(other, kind):
        assert key(one, kind) != key(other, kind)


def test_a_file_cannot_pass_for_the_border_between_two() -> None:
    split = key(b"--B\r\na\r\n--B\r\nb\r\n--B--", "multipart/form-data; boundary=B")
    whole = key(b"--C\r\na\r\n--B\r\nb\r\n--C--", "multipart/form-data; boundary=C")
    assert split != whole
    assert split == key(b"--C\r\na\r\n--C\r\nb\r\n--C--", "multipart/form-data; boundary=C")
