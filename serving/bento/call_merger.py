"""Merges the calls of several gateways to one batch method by BentoML's adaptive batching.

While a thread of the method is free, a call runs directly. Further calls wait in BentoML's dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from bentoml._internal.marshal.dispatcher import CorkDispatcher
from bentoml.exceptions import ServiceUnavailable

from models.errors import DeadlineExceeded, Overloaded
from serving.runners.host.batch_method import TOO_LATE, BatchMethod
from serving.runners.wire import WireRequest, WireResponse

# Longer than every deadline: the queues of the gateways bound the wait.
_MAX_LATENCY_MS = 60_000
_OVERLOADED = "too many requests wait for this model"


class CallRequests(list[WireRequest]):
    """The requests of one call, a list as BentoML's dispatcher needs it."""

    def __init__(self, requests: Sequence[WireRequest], is_disconnected: Callable[[], bool] = lambda: False) -> None:
        super().__init__(requests)
        self.is_disconnected = is_disconnected


class CallMerger:
    """The calls to one batch method. Merged calls have at most `max_rows` requests."""

    def __init__(self, method: BatchMethod, *, max_rows: int) -> None:
        self._method = method
        self._max_rows = max_rows
        self._direct_calls = 0
        self._dispatcher: CorkDispatcher[Any, Any] | None = None
        self._dispatch: Callable[[CallRequests], Any] | None = None

    async def run(
        self, requests: Sequence[WireRequest], is_disconnected: Callable[[], bool]
    ) -> Sequence[WireResponse | Exception]:
        """Return one answer or error per request. Raises Overloaded."""
        if self._method.is_low_priority:
            # The queues of the gateways bound these calls, and they are not merged.
            return await self._method.run(requests)
        if self._direct_calls < self._method.threads:
            self._direct_calls += 1
            try:
                return await self._method.run(requests)
            finally:
                self._direct_calls -= 1
        if self._dispatch is None:
            self._dispatch = self._new_dispatcher()
        try:
            results: Sequence[WireResponse | Exception] = await self._dispatch(CallRequests(requests, is_disconnected))
        except ServiceUnavailable as error:
            raise Overloaded(_OVERLOADED) from error
        return results

    def close(self) -> None:
        """Run no further merged calls."""
        if self._dispatcher is not None:
            self._dispatcher.shutdown()

    def _new_dispatcher(self) -> Callable[[CallRequests], Any]:
        # As BentoML makes one for each batchable method of a service; models come and go.
        self._dispatcher = CorkDispatcher(
            max_latency_in_ms=_MAX_LATENCY_MS,
            max_batch_size=self._max_rows,
            fallback=_refuse,
            get_batch_size=len,
            batch_dim=(0, 0),
        )
        return self._dispatcher(self._run_merged)

    async def _run_merged(self, calls: Sequence[Sequence[WireRequest]]) -> list[list[WireResponse | Exception]]:
        """Run the calls that the dispatcher has merged, and return the results of each, in order."""
        waiting = [not (isinstance(call, CallRequests) and call.is_disconnected()) for call in calls]
        requests = [item for call, is_waiting in zip(calls, waiting, strict=True) if is_waiting for item in call]
        results = iter(await self._method.run(requests))
        return [
            [next(results) if is_waiting else DeadlineExceeded(TOO_LATE) for _ in call]
            for call, is_waiting in zip(calls, waiting, strict=True)
        ]


def _refuse() -> NoReturn:
    raise ServiceUnavailable("process is overloaded")
