"""Tests of cached responses on the fast path: the same bytes as from the application, and shared computation."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from starlette.types import Receive, Scope, Send

from models.errors import RunnerUnavailable
from serving.access.guard import Guard
from serving.http.cache_store import MemoryStore
from serving.kinds.tabular.routes import PREDICT_PATH
from serving.runners.interface import ModelRef
from serving.server.fast_path.operations import fast_operations
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import ROW, LocalService
from tests.serving.server.fast_path.fast_path_server import FastPathServer, listening, read_answer, request

# The fast path leaves requests with this header to the application.
NOT_FAST = b"X-Other: 1"
PER_REQUEST = ("date", "x-process-time", "x-request-id")


class TableServer(FastPathServer):
    """A server of the tabular model of a small service, with a response cache."""

    def __init__(self, **settings: Any) -> None:
        self.local_service = LocalService(cache_bytes=1 << 20, **settings)
        service = self.local_service
        operations = fast_operations(service.handlers, service.settings, Guard(), service.cache)
        (call,) = [each for each in operations if each.path == PREDICT_PATH]
        super().__init__(call=call)
        self.predict = self.local_service.table.predict
        self.local_service.table.predict = self._predict_when_released  # type: ignore[method-assign]
        self.calls = 0
        self.fails_once = False

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.by_application.append(scope)
        await self.local_service.edged(scope, receive, send)

    async def _predict_when_released(self, rows: Any, **more: Any) -> Any:  # Any: as of `Rows.predict`
        self.calls += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            error, self.error = self.error, None if self.fails_once else self.error
            raise error
        return await self.predict(rows, **more)

    async def predict_row(self, age: int = 33, *more: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Predict a row and return status, headers and body."""
        body = body or orjson.dumps({"instances": [ROW | {"age": age}]})
        reader, writer = await self.connect()
        writer.write(request(body, line=f"POST {PREDICT_PATH} HTTP/1.1".encode(), more=more))
        try:
            return await read_answer(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def wait_for_calls(self, calls: int, waiting: int = 0) -> None:
        """Wait for the number of calls to the runner and of requests in flight."""
        async with asyncio.timeout(20):
            while self.calls < calls or self.draining.in_flight < waiting:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def table(**settings: Any) -> AsyncIterator[TableServer]:
    async with listening(TableServer(**settings)) as server:
        assert isinstance(server, TableServer)
        yield server


def common(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in PER_REQUEST}


@pytest.mark.parametrize("first", [(), (NOT_FAST,)], ids=["fast path", "application"])
@in_loop
async def test_both_paths_share_cached_responses(first: tuple[bytes, ...]) -> None:
    async with table() as server:
        original = await server.predict_row(33, *first)
        fast, by_application = await server.predict_row(33), await server.predict_row(33, NOT_FAST)
        other = await server.predict_row(34, *(() if first else (NOT_FAST,)))
    assert [each[1]["x-cache"] for each in (original, fast, by_application, other)] == ["miss", "hit", "hit", "miss"]
    assert original[2] == fast[2] == by_application[2]
    assert list(common(fast[1]).items()) == list(common(by_application[1]).items())
    assert common(original[1]).keys() == common(other[1]).keys() == common(fast[1]).keys()
    assert (server.calls, len(server.by_application)) == (2, 2)


@in_loop
async def test_cache_ignores_whitespace_and_key_order() -> None:
    async with table() as server:
        assert (await server.predict_row())[1]["x-cache"] == "miss"
        reordered = orjson.dumps({"instances": [dict(reversed(ROW.items()))]}, option=orjson.OPT_INDENT_2)
        assert (await server.predict_row(body=reordered))[1]["x-cache"] == "hit"
    assert not server.by_application


@in_loop
async def test_cached_response_does_not_wait_for_the_running_batch() -> None:
    async with table() as server:
        await server.predict_row()
        server.hold = asyncio.Event()
        slow = asyncio.create_task(server.predict_row(40))
        await server.wait_for_calls(2)
        assert (await server.predict_row())[1]["x-cache"] == "hit"
        assert not slow.done()
        server.hold.set()
        assert (await slow)[0] == 200


@in_loop
async def test_equal_requests_in_flight_are_computed_once_on_both_paths() -> None:
    async with table() as server:
        server.hold = asyncio.Event()
        sent = [asyncio.create_task(server.predict_row())]
        await server.wait_for_calls(1)
        sent += [
            asyncio.create_task(server.predict_row(33, *((NOT_FAST,) if number % 5 == 0 else ())))
            for number in range(19)
        ]
        await server.wait_for_calls(1, waiting=17)
        server.hold.set()
        answers = await asyncio.gather(*sent)
    assert server.calls == 1
    assert sorted(headers["x-cache"] for _, headers, _ in answers) == ["hit"] * 19 + ["miss"]
    assert len({body for _, _, body in answers}) == 1


@pytest.mark.parametrize("fails_once", [True, False])
@in_loop
async def test_failure_is_not_shared_between_equal_requests(fails_once: bool) -> None:
    async with table() as server:
        server.hold, server.error, server.fails_once = asyncio.Event(), RunnerUnavailable("gone"), fails_once
        sent = [asyncio.create_task(server.predict_row()) for _ in range(5)]
        await server.wait_for_calls(1, waiting=6)
        server.hold.set()
        answers = await asyncio.gather(*sent)
    statuses = sorted(status for status, _, _ in answers)
    assert statuses == ([200] * 4 + [503] if fails_once else [503] * 5)
    assert server.calls == (2 if fails_once else 5)
    # Requests that waited for the failed one keep their deadline.
    assert all(b"x-request-timeout" in dict(scope["headers"]) for scope in server.by_application)
    assert len(server.by_application) == 4
    assert all(("x-cache" in headers) is (status == 200) for status, headers, _ in answers)


@in_loop
async def test_disconnect_does_not_fail_equal_requests() -> None:
    async with table() as server:
        server.hold = asyncio.Event()
        leaving = asyncio.create_task(server.predict_row())
        await server.wait_for_calls(1)
        staying = asyncio.create_task(server.predict_row())
        await server.wait_for_calls(1, waiting=3)
        leaving.cancel()
        await asyncio.sleep(0.05)
        server.hold.set()
        assert (await staying)[0] == 200


@in_loop
async def test_errors_and_responses_of_another_version_are_not_cached() -> None:
    async with table() as server:
        bad = orjson.dumps({"instances": [ROW | {"age": "old"}]})
        assert [(await server.predict_row(body=bad))[0] for _ in range(2)] == [422, 422]

        async def predict_other_version(rows: Any, **more: Any) -> Any:  # Any: as of `Rows.predict`
            answer = await server.predict(rows, **more)
            return type(answer)(answer.values, ModelRef("tabular", "v2"))

        server.local_service.table.predict = predict_other_version  # type: ignore[method-assign]
        assert [(await server.predict_row())[1]["x-cache"] for _ in range(2)] == ["miss", "miss"]


@in_loop
async def test_cached_response_with_headers_comes_from_the_application() -> None:
    async with table() as server:
        body = (await server.predict_row())[2]
        cache = server.local_service.cache
        assert cache is not None
        store = cache._store
        assert isinstance(store, MemoryStore)
        (key,) = store._entries
        store.keep(key, b'{"Sunset":"soon"}\n' + body)
        _, headers, cached = await server.predict_row()
    assert (headers["x-cache"], headers["sunset"], cached) == ("hit", "soon", body)
    assert len(server.by_application) == 1
