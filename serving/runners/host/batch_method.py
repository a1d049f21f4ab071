"""Runs batches through one method of a runner, checks the answers, and isolates the item that makes a batch fail.

The same code runs in a runner's process and inside the gateway.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.errors import (
    DeadlineExceeded,
    InputError,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
    VersionNotLoaded,
)
from serving.concurrency import ThreadPool
from serving.context import Answering
from serving.process.heartbeat import heartbeat
from serving.runners.host.event_loop_policy import EventLoopPolicy
from serving.runners.host.loaded_versions import requested_version
from serving.runners.interface import ModelRef
from serving.runners.wire import Payload, WireRequest, WireResponse

log = logging.getLogger("makunouchi.runner")

TOO_LATE = "the model did not answer in time"
FAILED = "the model could not answer"
NOT_LOADED = "the version is not loaded at the moment"

# What a model raises that asked another one. No request of its batch is at fault.
_OF_OTHERS: Final = (RunnerUnavailable, Overloaded, DeadlineExceeded)
Result = WireResponse | Exception


class BatchMethod:
    """Runs batches through `function`, in up to `threads` threads of its own, or in those of a pool.

    `function` takes the rows of a batch, an array or a list of objects, and returns as many, in order. `default` is the
    default version, and `last_used` the version that made this thread's last answer. Where it `may_block` the event
    loop, a quick batch runs on it.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        last_used: Callable[[], ModelRef],
        name: str,
        default: Callable[[], ModelRef] | None = None,
        threads: int | ThreadPool = 1,
        may_block: bool = False,
        is_low_priority: bool = False,
    ) -> None:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"the batch method of {name} must be a plain function: it runs in a thread")
        self._function = function
        self._last_used = last_used
        self._default = default or last_used
        self._name = name
        self.is_low_priority = is_low_priority
        self._owns_threads = isinstance(threads, int)
        self._threads = ThreadPool(threads, name=name) if isinstance(threads, int) else threads
        self._calls = 0
        self._policy = EventLoopPolicy()
        self._may_block = may_block

    @property
    def threads(self) -> int:
        """The number of calls that run at a time."""
        return self._threads.number

    @property
    def is_idle(self) -> bool:
        """Whether no call is in flight."""
        return not self._calls

    async def run(self, requests: Sequence[WireRequest]) -> list[Result]:
        """Return one answer or error per request, in order. Only the request at fault fails.

        A request for a version that is not loaded gets VersionNotLoaded.
        """
        rows = sum(request.rows for request in requests)
        if not self._may_block or not self._policy.is_quick(rows) or not self._are_for_default(requests):
            self._calls += 1
            try:
                return await self._threads.run(self.run_now, requests)
            finally:
                self._calls -= 1
        started = time.perf_counter()
        results = self.run_now(requests)
        self._policy.record(rows, time.perf_counter() - started)
        return results

    def run_now(self, requests: Sequence[WireRequest]) -> list[Result]:
        """As `run`, in this thread."""
        results: list[Result] = [DeadlineExceeded(TOO_LATE)] * len(requests)
        for version in dict.fromkeys(request.version for request in requests):
            now = time.monotonic()
            token = requested_version.set(version)
            try:
                self._run_version(
                    requests,
                    [index for index, item in enumerate(requests) if item.version == version and item.deadline > now],
                    results,
                )
            finally:
                requested_version.reset(token)
        return results

    async def warm_up(self, request: WireRequest, *, calls: int) -> None:
        """Run `request` several times in a thread. Raises PredictionFailed when it has no answer."""
        fastest_s = float("inf")
        for _ in range(calls):
            started = time.perf_counter()
            result = (await self._threads.run(self.run_now, [request]))[0]
            fastest_s = min(fastest_s, time.perf_counter() - started)
            if not isinstance(result, WireResponse):
                raise PredictionFailed("the example was not answered") from result
        self._policy.record_warm_up(request.rows, fastest_s)

    def close(self) -> None:
        """Start no further calls. Does not wait for calls in flight."""
        if self._owns_threads:
            self._threads.close()

    def _are_for_default(self, requests: Sequence[WireRequest]) -> bool:
        """Whether the measured durations, which are of the default version, apply to `requests`."""
        default = self._default().version
        return all(not request.version or request.version == default for request in requests)

    def _run_version(self, requests: Sequence[WireRequest], indices: list[int], results: list[Result]) -> None:
        """Run the requests at `indices`, all for one version, as one batch, and write their results."""
        if not indices:
            return
        try:
            values = self._call([requests[index] for index in indices])
        except (VersionNotLoaded, *_OF_OTHERS) as error:
            for index in indices:
                results[index] = error
            return
        except Exception as error:
            self._isolate(error, requests, indices, results)
            return
        model, version = self._last_used(), requests[indices[0]].version
        if version and version != model.version:
            # The runner holds one version and ignores the requested one.
            for index in indices:
                results[index] = VersionNotLoaded(NOT_LOADED)
            return
        start = 0
        for index in indices:
            part = values[start : start + requests[index].rows]
            start += requests[index].rows
            is_valid = _is_finite(part)
            results[index] = WireResponse(part, model) if is_valid else self._failure(_NotFinite(), requests[index])

    def _isolate(
        self, error: Exception, requests: Sequence[WireRequest], indices: list[int], results: list[Result]
    ) -> None:
        """Run the two halves of a failed batch: one bad item of n costs 2 log2(n) more calls, not n."""
        if len(indices) == 1:
            results[indices[0]] = self._failure(error, requests[indices[0]])
            return
        middle, now = len(indices) // 2, time.monotonic()
        for half in (indices[:middle], indices[middle:]):
            self._run_version(requests, [index for index in half if requests[index].deadline > now], results)

    def _call(self, requests: list[WireRequest]) -> Payload:
        if len(requests) == 1:
            payload = requests[0].payload
        elif isinstance(requests[0].payload, list):
            payload = [row for request in requests for row in request.payload]
        else:
            payload = np.concatenate([request.payload for request in requests])
        first = requests[0]
        due = first.deadline if len(requests) == 1 else max(request.deadline for request in requests)
        # A warm-up has the time that a start has.
        call = heartbeat.enter_call() if due < float("inf") else None
        try:
            # For a model that asks others.
            with Answering(first.request_id, due, first.traceparent):
                return _checked(self._function(payload), payload)
        finally:
            if call is not None:
                heartbeat.leave_call(call)

    def _failure(self, error: Exception, request: WireRequest) -> Exception:
        if isinstance(error, InputError):
            return error
        # The model's message stays in this log: it may quote the input or name files.
        log.error("%s failed for request %s", self._name, request.request_id or "-", exc_info=error)
        return PredictionFailed(FAILED)


class _NotFinite(ValueError):
    def __init__(self) -> None:
        super().__init__("the model answered NaN or infinity")


def _checked(result: Any, payload: Payload) -> Payload:  # Any: whatever a model returns
    rows = len(payload)
    if isinstance(payload, list):
        if not isinstance(result, list) or len(result) != rows or not all(isinstance(row, dict) for row in result):
            raise ValueError(f"the model must answer a list of {rows} objects, and answered {_describe(result)}")
        return result
    values = np.asarray(result)
    if values.ndim == 0 or values.shape[0] != rows or values.dtype.kind not in "fiub":
        raise ValueError(f"the model must answer {rows} rows of numbers, and answered {_describe(result)}")
    if values.ndim == 1:
        values = values.reshape(rows, 1)
    return values.astype(np.float32, copy=False)


def _is_finite(values: Payload) -> bool:
    return isinstance(values, list) or bool(np.isfinite(values).all())


def _describe(result: object) -> str:
    if isinstance(result, np.ndarray):
        array: NDArray[Any] = result  # Any: element types vary
        return f"an array of shape {array.shape} and type {array.dtype}"
    return f"{type(result).__name__} of length {len(result)}" if isinstance(result, list) else type(result).__name__
