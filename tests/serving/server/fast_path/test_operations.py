"""Each hot call answers by the short road what it answers by the ordinary one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from serving.access.guard import Guard, build_guard
from serving.runners.interface import RunnerStatus
from serving.server.fast_path.batch_queue import FastOperation
from serving.server.fast_path.operations import fast_operations
from serving.versions.traffic_split import TrafficSplit
from tests.serving.access.credentials import API_KEYS, KEYS
from tests.serving.in_process_service import ROW, LocalService

TABLE, USERS = "/v1/tabular/predict", "/v1/recommendations"
GOOD: dict[str, list[Any]] = {
    TABLE: [{"instances": [ROW]}, {"instances": [ROW | {"age": 20.0}, ROW]}, {"instances": [ROW | {"sex": "female"}]}],
    USERS: [
        {"user_id": "alice", "n": 3},
        {"user_id": 7, "n": 2, "filter_seen": False},
        {"user_id": "nobody"},
        {"user_id": "bob", "n": 2, "deny": {"ids": ["6"]}, "explain": True},
    ],
}
BAD = {
    TABLE: [b"", b"{", b"[]", b'{"instances": []}', orjson.dumps({"instances": [ROW | {"sex": "x"}]})],
    USERS: [
        b"",
        b"{",
        b'{"user_id": "alice", "n": 1000}',
        b'{"user_id": "broken"}',
        b'{"user_id": "nobody", "unknown_user": "error"}',
        b'{"user_id": "alice", "model": "none such"}',
    ],
}


def call_of(local_service: LocalService, path: str, guard: Guard | None = None) -> FastOperation:
    operations = fast_operations(local_service.handlers, local_service.settings, guard or Guard(), local_service.cache)
    (found,) = [operation for operation in operations if operation.path == path]
    return found


def answered(local_service: LocalService, path: str, *bodies: bytes) -> list[bytes | Exception]:
    async def each() -> list[bytes | Exception]:
        return list(await call_of(local_service, path).answer_each([bytearray(body) for body in bodies]))

    return asyncio.run(each())


def untimed(body: bytes | Exception) -> Any:
    assert isinstance(body, bytes)
    read = orjson.loads(body)
    assert read.pop("inference_time_ms") >= 0
    return read


@pytest.mark.parametrize("path", [TABLE, USERS])
def test_both_roads_give_the_same_answers(local_service: LocalService, path: str) -> None:
    bodies = [orjson.dumps(body) for body in GOOD[path]]
    for body, short in zip(bodies, answered(local_service, path, *bodies), strict=True):
        ordinary = local_service.post_json(path, body)
        assert ordinary.status_code == 200, ordinary.text
        assert untimed(short) == untimed(ordinary.content)
        assert isinstance(short, bytes)
        assert list(orjson.loads(short)) == list(ordinary.json())


@pytest.mark.parametrize(("path", "bad"), [(path, bad) for path, bodies in BAD.items() for bad in bodies])
def test_what_is_wrong_is_left_to_the_ordinary_road_and_harms_no_other(
    local_service: LocalService, path: str, bad: bytes
) -> None:
    good = [orjson.dumps(body) for body in GOOD[path]]
    alone = [untimed(answer) for answer in answered(local_service, path, *good)]
    first, *others = answered(local_service, path, bad, *good)
    assert isinstance(first, Exception)
    assert [untimed(answer) for answer in others] == alone
    assert local_service.post_json(path, bad).status_code >= 400


def test_one_call_to_the_runner_answers_them_all(local_service: LocalService) -> None:
    bodies = [orjson.dumps(body) for body in GOOD[TABLE]]
    answered(local_service, TABLE, *bodies)
    assert local_service.table.calls == [4]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {TABLE, USERS}),
        ({"cache_bytes": 1 << 20}, {TABLE, USERS}),
        ({"cache_bytes": 1 << 20, "cache_store": "redis", "redis_url": "redis://none:1/0"}, {USERS}),
        ({"cache_bytes": 1 << 20, "cache_store": "redis", "redis_url": "redis://none:1/0", "cache_tables": False},
         {TABLE, USERS}),
    ],
)  # fmt: skip
def test_answers_that_redis_keeps_have_no_short_road(settings: dict[str, Any], expected: set[str]) -> None:
    service = LocalService(**settings)
    operations = fast_operations(service.handlers, service.settings, Guard(), service.cache)
    assert {operation.path for operation in operations} == expected


def test_a_runner_that_does_not_say_that_it_is_ready_closes_its_road(local_service: LocalService) -> None:
    assert call_of(local_service, TABLE).is_available()
    silent: Any = SimpleNamespace(last_status=RunnerStatus(ready=False, model=None))
    local_service.table_handler.model.runner = silent
    assert not call_of(local_service, TABLE).is_available()


@pytest.mark.parametrize(
    "plan", [TrafficSplit(weights={"v1": 0.5, "v2": 0.5}), TrafficSplit(shadow="v2")], ids=["weights", "shadow"]
)
def test_a_plan_for_the_traffic_closes_the_road(local_service: LocalService, plan: TrafficSplit) -> None:
    call = call_of(local_service, USERS)
    assert call.is_available()
    local_service.recommender_handler.model.router.split = plan
    assert not call.is_available()


def test_with_keys_only_those_who_may_predict_come_this_way() -> None:
    local_service = LocalService(api_keys=API_KEYS)
    admits = call_of(local_service, TABLE, build_guard(local_service.settings)).admits
    assert admits([(b"x-api-key", KEYS["predict"].encode())])
    assert admits([(b"authorization", b"Bearer " + KEYS["admin"].encode())])
    assert not admits([(b"x-api-key", KEYS["read"].encode())])
    assert not admits([(b"x-api-key", b"unknown")])
    assert not admits([])


def test_where_requests_are_counted_none_comes_this_way() -> None:
    local_service = LocalService(api_keys=API_KEYS, rate_limit=5)
    admits = call_of(local_service, TABLE, build_guard(local_service.settings)).admits
    assert not admits([(b"x-api-key", KEYS["predict"].encode())])
