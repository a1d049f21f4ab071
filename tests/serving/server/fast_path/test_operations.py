"""Tests that fast operations return the same responses as the application."""

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
VALID: dict[str, list[Any]] = {
    TABLE: [{"instances": [ROW]}, {"instances": [ROW | {"age": 20.0}, ROW]}, {"instances": [ROW | {"sex": "female"}]}],
    USERS: [
        {"user_id": "alice", "n": 3},
        {"user_id": 7, "n": 2, "filter_seen": False},
        {"user_id": "nobody"},
        {"user_id": "bob", "n": 2, "deny": {"ids": ["6"]}, "explain": True},
    ],
}
INVALID = {
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
    (match,) = [operation for operation in operations if operation.path == path]
    return match


def fast_responses(local_service: LocalService, path: str, *bodies: bytes) -> list[bytes | Exception]:
    async def answer_each() -> list[bytes | Exception]:
        return list(await call_of(local_service, path).answer_each([bytearray(body) for body in bodies]))

    return asyncio.run(answer_each())


def without_time(body: bytes | Exception) -> Any:
    assert isinstance(body, bytes)
    response = orjson.loads(body)
    assert response.pop("inference_time_ms") >= 0
    return response


@pytest.mark.parametrize("path", [TABLE, USERS])
def test_fast_operation_returns_the_response_of_the_application(local_service: LocalService, path: str) -> None:
    bodies = [orjson.dumps(body) for body in VALID[path]]
    for body, fast in zip(bodies, fast_responses(local_service, path, *bodies), strict=True):
        response = local_service.post_json(path, body)
        assert response.status_code == 200, response.text
        assert without_time(fast) == without_time(response.content)
        assert isinstance(fast, bytes)
        assert list(orjson.loads(fast)) == list(response.json())


@pytest.mark.parametrize(("path", "body"), [(path, body) for path, bodies in INVALID.items() for body in bodies])
def test_invalid_requests_fall_back_and_do_not_affect_others(
    local_service: LocalService, path: str, body: bytes
) -> None:
    valid = [orjson.dumps(body) for body in VALID[path]]
    alone = [without_time(answer) for answer in fast_responses(local_service, path, *valid)]
    first, *others = fast_responses(local_service, path, body, *valid)
    assert isinstance(first, Exception)
    assert [without_time(answer) for answer in others] == alone
    assert local_service.post_json(path, body).status_code >= 400


def test_batch_is_one_call_to_the_runner(local_service: LocalService) -> None:
    bodies = [orjson.dumps(body) for body in VALID[TABLE]]
    fast_responses(local_service, TABLE, *bodies)
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
def test_operations_cached_in_redis_are_not_fast(settings: dict[str, Any], expected: set[str]) -> None:
    service = LocalService(**settings)
    operations = fast_operations(service.handlers, service.settings, Guard(), service.cache)
    models = {
        f"/v1/models/{name}/predict" for name, path in (("tabular", TABLE), ("recommender", USERS)) if path in expected
    }
    assert {operation.path for operation in operations} == expected | models


def test_operation_is_unavailable_without_a_ready_runner(local_service: LocalService) -> None:
    assert call_of(local_service, TABLE).is_available()
    unready: Any = SimpleNamespace(last_status=RunnerStatus(ready=False, model=None))
    local_service.table_handler.model.runner = unready
    assert not call_of(local_service, TABLE).is_available()


@pytest.mark.parametrize(
    "plan", [TrafficSplit(weights={"v1": 0.5, "v2": 0.5}), TrafficSplit(shadow="v2")], ids=["weights", "shadow"]
)
def test_operation_is_unavailable_during_a_traffic_split(local_service: LocalService, plan: TrafficSplit) -> None:
    call = call_of(local_service, USERS)
    assert call.is_available()
    local_service.recommender_handler.model.router.split = plan
    assert not call.is_available()


def test_fast_path_admits_only_keys_that_may_predict() -> None:
    local_service = LocalService(api_keys=API_KEYS)
    admits = call_of(local_service, TABLE, build_guard(local_service.settings)).admits
    assert admits([(b"x-api-key", KEYS["predict"].encode())])
    assert admits([(b"authorization", b"Bearer " + KEYS["admin"].encode())])
    assert not admits([(b"x-api-key", KEYS["read"].encode())])
    assert not admits([(b"x-api-key", b"unknown")])
    assert not admits([])


def test_fast_path_admits_no_request_with_a_rate_limit() -> None:
    local_service = LocalService(api_keys=API_KEYS, rate_limit=5)
    admits = call_of(local_service, TABLE, build_guard(local_service.settings)).admits
    assert not admits([(b"x-api-key", KEYS["predict"].encode())])
