"""Requests of more rows or bytes than a batch are split, and their answers are joined."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from models.errors import DeadlineExceeded, InvalidInput, Overloaded, PredictionFailed, VersionNotLoaded
from serving.context import set_caller
from serving.errors.exceptions import CallerLimitReached
from serving.runners.batching import BatchLimits
from serving.runners.handle import RunnerHandle
from serving.runners.interface import ModelRef, RunnerResponse, RunnerStatus
from serving.runners.splitting import part_rows
from serving.runners.wire import WireRequest, WireResponse
from tests.serving.event_loop import in_loop
from tests.serving.runners.blocking_runner import settle

LATER = float("inf")


class Client:
    """A client that doubles numbers. Each call waits for `release`, and is one list of the rows of its requests."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.calls: list[list[int]] = []
        self.frames: list[list[WireRequest]] = []
        self.versions = ["v1"]
        self.last_status = RunnerStatus(ready=True, model=ModelRef("m", "v1"))
        self._turns = asyncio.Semaphore(1_000_000 if is_open else 0)

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def release(self, calls: int = 1) -> None:
        for _ in range(calls):
            self._turns.release()

    async def call(self, requests: Sequence[WireRequest], *, method: str = "") -> list[WireResponse | Exception]:
        self.calls.append([request.rows for request in requests])
        self.frames.append(list(requests))
        model = ModelRef("m", self.versions[min(len(self.calls), len(self.versions)) - 1])
        await self._turns.acquire()
        return [self._answer(request, model) for request in requests]

    def _answer(self, request: WireRequest, model: ModelRef) -> WireResponse | Exception:
        values: Any = request.payload
        if isinstance(values, list):
            return WireResponse([{"n": 2 * row["n"]} for row in values], model)
        bad = np.flatnonzero(values[:, 0] < 0)
        if len(bad):
            return InvalidInput("negative", location=(int(bad[0]), "n"))
        return PredictionFailed("x") if np.isnan(values).any() else WireResponse(2 * values, model)


def started(client: Client, **limits: int) -> RunnerHandle:
    handle = RunnerHandle("m", BatchLimits(**limits))
    handle.start(client)  # type: ignore[arg-type]  # has the methods that are used here
    return handle


def rows(*values: float) -> Any:
    return np.array(values, np.float64).reshape(-1, 1)


def ask(handle: RunnerHandle, payload: Any, *, deadline: float = LATER) -> asyncio.Task[RunnerResponse]:
    return asyncio.create_task(handle.predict(payload, deadline=deadline))


@pytest.mark.parametrize(
    ("number", "size_bytes", "expected"),
    [(4, 40, 4), (5, 50, 3), (9, 90, 3), (10, 100, 4), (4, 101, 2), (4, 1000, 1), (1, 10**9, 1)],
)
def test_parts_have_about_the_same_number_of_rows(number: int, size_bytes: int, expected: int) -> None:
    assert part_rows(number, size_bytes, BatchLimits(max_batch_rows=4, max_batch_bytes=100)) == expected


@in_loop
async def test_no_call_has_more_rows_than_a_batch_and_answers_are_joined_in_order() -> None:
    client = Client(is_open=True)
    handle = started(client, max_batch_rows=4)
    answer = await ask(handle, rows(*range(10)))
    assert client.calls == [[4], [4], [2]]
    assert answer.values.ravel().tolist() == [2 * value for value in range(10)]
    assert answer.model == ModelRef("m", "v1")
    answer = await ask(handle, [{"n": value} for value in range(9)])
    assert client.calls[3:] == [[3], [3], [3]]
    assert answer.values == [{"n": 2 * value} for value in range(9)]


@in_loop
async def test_no_call_has_more_bytes_than_a_batch() -> None:
    client = Client(is_open=True)
    handle = started(client, max_batch_bytes=100)
    answer = await ask(handle, np.ones((10, 5), np.float64))
    assert client.calls == [[2]] * 5
    assert answer.values.shape == (10, 5)
    # A row is not split.
    await ask(handle, np.ones((2, 50), np.float64))
    assert client.calls[5:] == [[1], [1]]


@in_loop
async def test_other_requests_are_answered_between_the_parts() -> None:
    client = Client()
    handle = started(client, max_batch_rows=4)
    large = ask(handle, rows(*range(16)))
    await settle()
    others = [ask(handle, rows(100 + number)) for number in range(3)]
    await settle()
    for _ in range(2):
        client.release()
        await settle()
    assert all(other.done() for other in others)
    assert not large.done()
    assert client.calls == [[4], [1, 1, 1], [4]]
    client.release(9)
    assert (await large).values.ravel().tolist() == [2 * value for value in range(16)]


@in_loop
async def test_two_large_requests_take_turns() -> None:
    client = Client()
    handle = started(client, max_batch_rows=2)
    large = [ask(handle, rows(*range(start, start + 6))) for start in (0, 100)]
    for _ in range(6):
        await settle()
        client.release()
    await asyncio.gather(*large)
    assert [int(np.asarray(frame[0].payload)[0, 0]) for frame in client.frames] == [0, 100, 2, 102, 4, 104]


@in_loop
async def test_parts_use_all_calls_in_flight() -> None:
    client = Client()
    handle = started(client, max_batch_rows=2, calls_in_flight=3)
    large = ask(handle, rows(*range(10)))
    await settle()
    assert client.calls == [[2]] * 3
    client.release(9)
    assert (await large).values.ravel().tolist() == [2 * value for value in range(10)]


@pytest.mark.parametrize(("bad", "error"), [(-1.0, InvalidInput), (float("nan"), PredictionFailed)])
def test_a_part_that_fails_fails_the_request_and_drops_the_rest(bad: float, error: type[Exception]) -> None:
    @in_loop
    async def test() -> None:
        client = Client(is_open=True)
        handle = started(client, max_batch_rows=2)
        with pytest.raises(error) as raised:
            await ask(handle, rows(0, 1, 2, bad, 4, 5, 6, 7))
        if isinstance(raised.value, InvalidInput):
            assert raised.value.location == (3, "n")
        await settle()
        assert client.calls == [[2], [2]]
        assert handle.queued_rows == 0
        assert (await ask(handle, rows(1))).values[0, 0] == 2

    test()


@in_loop
async def test_a_cancelled_request_starts_no_further_part() -> None:
    client = Client()
    handle = started(client, max_batch_rows=2)
    large = ask(handle, rows(*range(10)))
    await settle()
    assert handle.queued_rows == 8
    large.cancel()
    await asyncio.gather(large, return_exceptions=True)
    client.release(9)
    await settle()
    assert client.calls == [[2]]
    assert handle.queued_rows == 0


@in_loop
async def test_the_deadline_applies_to_the_whole_request() -> None:
    client = Client()
    handle = started(client, max_batch_rows=2)
    large = ask(handle, rows(*range(10)), deadline=handle._queue.clock() + 0.05)
    await settle()
    client.release()
    with pytest.raises(DeadlineExceeded):
        await large
    client.release(9)
    await settle()
    assert client.calls == [[2], [2]]
    assert len({request.deadline for frame in client.frames for request in frame}) == 1
    assert handle.queued_rows == 0


@in_loop
async def test_parts_of_several_versions_are_not_joined() -> None:
    client = Client(is_open=True)
    client.versions = ["v1", "v2"]
    handle = started(client, max_batch_rows=2)
    with pytest.raises(VersionNotLoaded):
        await ask(handle, rows(1, 2, 3))


@in_loop
async def test_all_rows_of_a_request_count_as_waiting_up_to_half_of_the_queue() -> None:
    client = Client()
    handle = started(client, max_batch_rows=2, max_queue_rows=16)

    def ask_as(caller: str, payload: Any) -> asyncio.Task[RunnerResponse]:
        set_caller(lambda: caller)
        return ask(handle, payload)

    large = ask_as("key:ann", rows(*range(100)))
    await settle()
    assert handle.queued_rows == 6
    with pytest.raises(CallerLimitReached):
        await ask_as("key:ann", rows(*range(100)))
    # Another caller has its place.
    other = ask_as("key:bob", rows(*range(5)))
    await settle()
    assert handle.queued_rows == 11
    with pytest.raises(Overloaded):
        await ask_as("key:cid", rows(*range(6)))
    client.release(100)
    assert len((await large).values) == 100
    assert len((await other).values) == 5
    assert handle.queued_rows == 0
