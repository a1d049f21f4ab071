"""The queue of calls to one runner process: calls of several gateways that wait are merged, by priority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, cast

from models.errors import Overloaded, RunnerError
from serving.context import RequestContext, set_context
from serving.runners.batching import BatchLimits, DynamicBatcher
from serving.runners.host.batch_method import BatchMethod, Result
from serving.runners.queued_call import QueuedCall
from serving.runners.wire import WireRequest, bytes_of, shape_of

# The queues of the gateways bound the rows that wait.
UNBOUNDED: Final = 1 << 40

Requests = Sequence[WireRequest]


class _Key(NamedTuple):
    """What calls that are merged have in common."""

    method: BatchMethod
    version: str
    shape: object


class CallQueue:
    """The calls to the methods of one process, which run `calls_in_flight` at a time. Others wait and are merged.

    Calls of the priority `batch` wait until no other call needs their thread.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._interactive: DynamicBatcher[Requests, list[Result]] = DynamicBatcher(_run, limits)
        self._batch: DynamicBatcher[Requests, list[Result]] = DynamicBatcher(
            _run, limits, priority="batch", ahead=self._interactive
        )

    async def run(
        self, method: BatchMethod, requests: Requests, is_disconnected: Callable[[], bool] = lambda: False
    ) -> Sequence[Result]:
        """Return one answer or error per request of one call.

        A waiting call whose gateway has disconnected does not start. Raises Overloaded.
        """
        if not requests:
            return []
        first = requests[0]
        set_context(RequestContext(float("inf"), is_disconnected))
        queue = self._batch if first.priority == "batch" else self._interactive
        key = _Key(method, first.version, shape_of(first.payload))
        rows, size_bytes = sum(each.rows for each in requests), sum(bytes_of(each.payload) for each in requests)
        try:
            # Without a deadline: a call keeps its thread to its end, and `BatchMethod` checks that of each request.
            return await queue.submit(requests, rows=rows, size_bytes=size_bytes, deadline=float("inf"), key=key)
        except Overloaded:
            raise
        except RunnerError as error:
            return [error] * len(requests)


async def _run(calls: Sequence[QueuedCall[Requests, list[Result]]]) -> list[list[Result] | Exception]:
    """Run merged calls as one batch, and return the results of each, in order."""
    method = cast("_Key", calls[0].key).method
    if len(calls) == 1:
        return [await method.run(calls[0].payload)]
    results = iter(await method.run([request for call in calls for request in call.payload]))
    return [[next(results) for _ in call.payload] for call in calls]
