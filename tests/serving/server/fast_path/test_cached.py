"""Answers to repeat on the short road: those of the ordinary road, byte for byte, and one answer for equal requests."""

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
from serving.http.response_cache import packed
from serving.kinds.tabular.routes import PREDICT_PATH
from serving.runners.interface import ModelRef
from serving.server.fast_path.operations import fast_operations
from tests.serving.event_loop import in_loop
from tests.serving.in_process_service import ROW, LocalService
from tests.serving.server.fast_path.fast_path_server import FastPathServer, listening, read_answer, request

# A header that the short road does not know.
ORDINARY = b"X-Other: 1"
OWN = ("date", "x-process-time", "x-request-id")


class TableLane(FastPathServer):
    """The table of a small service, both roads to it, and the store that keeps its answers."""

    def __init__(self, **settings: Any) -> None:
        self.local_service = LocalService(cache_bytes=1 << 20, **settings)
        service = self.local_service
        operations = fast_operations(service.handlers, service.settings, Guard(), service.cache)
        (call,) = [each for each in operations if each.path == PREDICT_PATH]
        super().__init__(call=call)
        self.predict = self.local_service.table.predict
        self.local_service.table.predict = self._held  # type: ignore[method-assign]
        self.asked = 0
        self.fails_once = False

    async def application(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.by_application.append(scope)
        await self.local_service.edged(scope, receive, send)

    async def _held(self, rows: Any, **more: Any) -> Any:  # Any: as of `Rows.predict`
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            error, self.error = self.error, None if self.fails_once else self.error
            raise error
        return await self.predict(rows, **more)

    async def ask(self, age: int = 33, *more: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to a row."""
        body = body or orjson.dumps({"instances": [ROW | {"age": age}]})
        reader, writer = await self.connect()
        writer.write(request(body, line=f"POST {PREDICT_PATH} HTTP/1.1".encode(), more=more))
        try:
            return await read_answer(reader)
        finally:
            writer.close()
            await writer.wait_closed()

    async def is_asked(self, calls: int, waiting: int = 0) -> None:
        """Wait until the runner was called so often, and so many requests are there."""
        async with asyncio.timeout(20):
            while self.asked < calls or self.draining.in_flight < waiting:
                await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def table(**settings: Any) -> AsyncIterator[TableLane]:
    async with listening(TableLane(**settings)) as lane:
        assert isinstance(lane, TableLane)
        yield lane


def common(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in OWN}


@pytest.mark.parametrize("first", [(), (ORDINARY,)], ids=["short", "ordinary"])
@in_loop
async def test_what_one_road_keeps_the_other_repeats_with_the_same_bytes_and_headers(first: tuple[bytes, ...]) -> None:
    async with table() as lane:
        made = await lane.ask(33, *first)
        short, ordinary = await lane.ask(33), await lane.ask(33, ORDINARY)
        other = await lane.ask(34, *(() if first else (ORDINARY,)))
    assert [each[1]["x-cache"] for each in (made, short, ordinary, other)] == ["miss", "hit", "hit", "miss"]
    assert made[2] == short[2] == ordinary[2]
    assert list(common(short[1]).items()) == list(common(ordinary[1]).items())
    assert common(made[1]).keys() == common(other[1]).keys() == common(short[1]).keys()
    assert (lane.asked, len(lane.by_application)) == (2, 2)


@in_loop
async def test_spaces_and_the_order_of_keys_do_not_matter() -> None:
    async with table() as lane:
        assert (await lane.ask())[1]["x-cache"] == "miss"
        turned = orjson.dumps({"instances": [dict(reversed(ROW.items()))]}, option=orjson.OPT_INDENT_2)
        assert (await lane.ask(body=turned))[1]["x-cache"] == "hit"
    assert not lane.by_application


@in_loop
async def test_what_is_kept_does_not_wait_for_the_batch_under_way() -> None:
    async with table() as lane:
        await lane.ask()
        lane.hold = asyncio.Event()
        slow = asyncio.create_task(lane.ask(40))
        await lane.is_asked(2)
        assert (await lane.ask())[1]["x-cache"] == "hit"
        assert not slow.done()
        lane.hold.set()
        assert (await slow)[0] == 200


@in_loop
async def test_equal_requests_in_flight_are_made_once_whichever_road_they_take() -> None:
    async with table() as lane:
        lane.hold = asyncio.Event()
        sent = [asyncio.create_task(lane.ask())]
        await lane.is_asked(1)
        sent += [asyncio.create_task(lane.ask(33, *((ORDINARY,) if number % 5 == 0 else ()))) for number in range(19)]
        await lane.is_asked(1, waiting=17)
        lane.hold.set()
        answers = await asyncio.gather(*sent)
    assert lane.asked == 1
    assert sorted(headers["x-cache"] for _, headers, _ in answers) == ["hit"] * 19 + ["miss"]
    assert len({body for _, _, body in answers}) == 1


@pytest.mark.parametrize("fails_once", [True, False])
@in_loop
async def test_a_failure_is_not_shared(fails_once: bool) -> None:
    async with table() as lane:
        lane.hold, lane.error, lane.fails_once = asyncio.Event(), RunnerUnavailable("gone"), fails_once
        sent = [asyncio.create_task(lane.ask()) for _ in range(5)]
        await lane.is_asked(1, waiting=6)
        lane.hold.set()
        answers = await asyncio.gather(*sent)
    statuses = sorted(status for status, _, _ in answers)
    assert statuses == ([200] * 4 + [503] if fails_once else [503] * 5)
    assert lane.asked == (2 if fails_once else 5)
    # What waited in vain goes on with what is left of its time.
    assert all(b"x-request-timeout" in dict(scope["headers"]) for scope in lane.by_application)
    assert len(lane.by_application) == 4
    assert all(("x-cache" in headers) is (status == 200) for status, headers, _ in answers)


@in_loop
async def test_a_client_that_leaves_does_not_fail_those_who_wait_for_the_same() -> None:
    async with table() as lane:
        lane.hold = asyncio.Event()
        leaving = asyncio.create_task(lane.ask())
        await lane.is_asked(1)
        staying = asyncio.create_task(lane.ask())
        await lane.is_asked(1, waiting=3)
        leaving.cancel()
        await asyncio.sleep(0.05)
        lane.hold.set()
        assert (await staying)[0] == 200


@in_loop
async def test_faults_and_answers_of_another_version_are_not_kept() -> None:
    async with table() as lane:
        bad = orjson.dumps({"instances": [ROW | {"age": "old"}]})
        assert [(await lane.ask(body=bad))[0] for _ in range(2)] == [422, 422]

        async def changed(rows: Any, **more: Any) -> Any:  # Any: as of `Rows.predict`
            answer = await lane.predict(rows, **more)
            return type(answer)(answer.values, ModelRef("tabular", "v2"))

        lane.local_service.table.predict = changed  # type: ignore[method-assign]
        assert [(await lane.ask())[1]["x-cache"] for _ in range(2)] == ["miss", "miss"]


@in_loop
async def test_an_answer_that_has_headers_of_its_own_is_repeated_by_the_ordinary_road() -> None:
    async with table() as lane:
        body = (await lane.ask())[2]
        cache = lane.local_service.cache
        assert cache is not None
        assert cache.memory is not None
        (key,) = cache.memory._entries
        cache.memory.keep(key, packed(body, {"Sunset": "soon"}))
        _, headers, again = await lane.ask()
    assert (headers["x-cache"], headers["sunset"], again) == ("hit", "soon", body)
    assert len(lane.by_application) == 1
