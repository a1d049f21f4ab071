"""Calls of several gateways to one runner: merged within bounds, by priority."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from models.errors import DeadlineExceeded
from serving.context import Priority
from serving.runners.batching import BatchLimits
from serving.runners.host.batch_method import BatchMethod, Result
from serving.runners.host.call_queue import CallQueue
from serving.runners.interface import ModelRef
from serving.runners.wire import WireRequest, WireResponse
from tests.serving.event_loop import in_loop, until
from tests.serving.runners.blocking_runner import settle
from tests.serving.runners.sum_predictors import RAISE, WAIT, Sums

LATER = float("inf")


def request(first: float, rows: int = 1, priority: Priority = "interactive") -> WireRequest:
    return WireRequest(np.full((rows, 3), first, np.float32), rows, f"id{first}", LATER, priority=priority)


def method_of(model: Sums) -> BatchMethod:
    return BatchMethod(model.predict, last_used=lambda: ModelRef("sums", "v1"), name="sums")


def sums(results: Sequence[Result]) -> list[float | str]:
    return [
        float(each.payload[0, 0]) if isinstance(each, WireResponse) else type(each).__name__  # type: ignore[call-overload]
        for each in results
    ]


async def busy(queue: CallQueue, method: BatchMethod, model: Sums) -> asyncio.Task[Sequence[Result]]:
    """Start a call that holds the only thread until `model.gate` is set."""
    running = asyncio.create_task(queue.run(method, [request(WAIT)]))
    await until(lambda: len(model.calls) == 1)
    return running


@in_loop
async def test_waiting_calls_are_merged_within_the_bound_and_get_their_own_results() -> None:
    model = Sums()
    method, queue = method_of(model), CallQueue(BatchLimits(max_batch_rows=4))
    first = await busy(queue, method, model)
    calls = [
        asyncio.create_task(queue.run(method, [request(1), request(2)])),
        asyncio.create_task(queue.run(method, [request(3, rows=2)])),
        asyncio.create_task(queue.run(method, [request(4, rows=3)])),
    ]
    await settle()
    model.gate.set()
    assert [sums(each) for each in await asyncio.gather(*calls)] == [[3, 6], [9], [12]]
    await first
    assert model.calls == [1, 4, 3]


@in_loop
async def test_calls_of_other_methods_versions_and_shapes_are_not_merged() -> None:
    model, other = Sums(), Sums()
    method, queue = method_of(model), CallQueue(BatchLimits())
    first = await busy(queue, method, model)
    calls = [
        asyncio.create_task(queue.run(method, [request(1)])),
        asyncio.create_task(queue.run(method_of(other), [request(2)])),
        asyncio.create_task(queue.run(method, [replace(request(3), version="v1")])),
        asyncio.create_task(queue.run(method, [WireRequest(np.ones((1, 5), np.float32), 1, "id", LATER)])),
    ]
    await settle()
    model.gate.set()
    assert [sums(each) for each in await asyncio.gather(*calls)] == [[3], [6], [9], [5]]
    await first
    assert (model.calls, other.calls) == ([1, 1, 1, 1], [1])


@in_loop
async def test_a_batch_call_waits_for_the_interactive_calls_of_all_gateways() -> None:
    model, answered = Sums(), list[float]()
    method, queue = method_of(model), CallQueue(BatchLimits(max_batch_rows=1))
    first = await busy(queue, method, model)

    async def call(value: float, priority: Priority) -> None:
        await queue.run(method, [request(value, priority=priority)])
        answered.append(value)

    calls = [asyncio.create_task(call(value, "batch")) for value in (50, 51)]
    await settle()
    calls += [asyncio.create_task(call(value, "interactive")) for value in (1, 2)]
    await settle()
    model.gate.set()
    await asyncio.gather(first, *calls)
    assert answered == [1, 2, 50, 51]


@in_loop
async def test_a_bad_request_fails_alone_and_a_call_without_its_gateway_does_not_start() -> None:
    model = Sums()
    method, queue = method_of(model), CallQueue(BatchLimits())
    first = await busy(queue, method, model)
    calls = [
        asyncio.create_task(queue.run(method, [request(1), request(RAISE)])),
        asyncio.create_task(queue.run(method, [request(2)])),
        asyncio.create_task(queue.run(method, [request(3), request(4)], lambda: True)),
    ]
    await settle()
    model.gate.set()
    results = await asyncio.gather(*calls)
    assert [sums(each) for each in results] == [[3, "PredictionFailed"], [6], ["DeadlineExceeded"] * 2]
    assert isinstance(results[2][0], DeadlineExceeded)
    await first
    # The merged call, and then its halves without the one that does not start.
    assert model.calls[:2] == [1, 3]
