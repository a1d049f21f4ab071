"""Collects requests while a batch runs, and submits them as the next batch.

This is the dynamic batching of `serving.runners.batching` one step earlier: requests that arrive while a call is in
flight are not even parsed until it returns, and are then read, encoded and answered together.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from models.errors import DeadlineExceeded, Overloaded, RunnerUnavailable
from serving.context import RequestContext, set_context, set_request_id
from serving.errors.exceptions import ServiceStopping
from serving.http.middleware.timeout import HEADER as TIMEOUT_HEADER
from serving.http.problem_details import problem_of
from serving.observability.request_recorder import RequestRecorder
from serving.process.graceful_shutdown import GracefulShutdown
from serving.runners.queued_call import TOO_LATE
from serving.server.fast_path.request import FastRequest

# Returns the JSON of the response to each of several JSON bodies, or the error of a request; the application then
# answers it. `current_context` has the deadline.
AnswerEach = Callable[[Sequence[bytes | bytearray]], Awaitable[Sequence[bytes | Exception]]]
Headers = Sequence[tuple[bytes, bytes]]

MAX_REQUESTS: Final = 64
# A batch is validated without a pause. Bodies have some hundred bytes; larger ones form smaller batches.
MAX_BATCH_BYTES: Final = 256 << 10
# Further requests go to the application, whose queue has a configured bound and refuses at once.
MAX_WAITING: Final = 256
# Errors of the runner, not of a request: sending the requests again would not help.
_RUNNER_ERRORS: Final = (RunnerUnavailable, Overloaded, DeadlineExceeded)


@dataclass(frozen=True, slots=True)
class FastOperation:
    """An operation that the fast path answers.

    `admits` and `is_available` must not wait; where they return False, the application decides.
    """

    path: str
    answer_each: AnswerEach
    admits: Callable[[Headers], bool]
    is_available: Callable[[], bool]
    max_waiting: int = MAX_WAITING
    # Returns whether a request is answered from the cache, now or later.
    from_cache: Callable[[FastRequest], bool] | None = None
    # The template of the path, for logs and metrics.
    route: str = ""


@dataclass(eq=False, slots=True)
class BatchQueue:
    """The requests to one operation. One batch is in flight at a time."""

    operation: FastOperation
    recorder: RequestRecorder
    shutdown: GracefulShutdown
    timeout_s: float
    _waiting: deque[FastRequest] = field(default_factory=deque)
    _batch: asyncio.Task[None] | None = None
    _is_scheduled: bool = False

    @property
    def path(self) -> str:
        """The path of the operation."""
        return self.operation.path

    def is_open(self) -> bool:
        """Return whether the fast path takes a request now."""
        operation = self.operation
        return not self.shutdown.is_begun and len(self._waiting) < operation.max_waiting and operation.is_available()

    def admits(self, headers: Headers) -> bool:
        """Return whether the caller may use the fast path; where not, the application says why."""
        return self.operation.admits(headers)

    def submit(self, request: FastRequest) -> None:
        """Answer `request` from the cache or with the next batch."""
        self.recorder.started()
        self.shutdown.enter()
        if self.operation.from_cache is not None and self.operation.from_cache(request):
            return
        self._waiting.append(request)
        if self._batch is None and not self._is_scheduled:
            # Not now: the requests of other connections that have arrived are read first.
            self._is_scheduled = True
            request.protocol.loop.call_soon(self._start)

    def on_answered(self, request: FastRequest, status: int, seconds: float) -> None:
        """Count and log a request whose response was sent."""
        self.recorder.ended(request.request_id, "POST", self.operation.route or self.path, status, seconds)
        self.shutdown.leave()

    def on_fall_back(self, request: FastRequest) -> None:
        """Leave the counting of a request to the application."""
        if not request.more_body:
            self.recorder.released()
            self.shutdown.leave()

    def on_failed_wait(self, request: FastRequest) -> None:
        """Handle a request whose equal request failed: the application has the rest of its time."""
        self._refuse(request, DeadlineExceeded(TOO_LATE))

    def _start(self) -> None:
        self._is_scheduled = False
        waiting = self._waiting
        if waiting:
            batch = self._next()
            self._batch = asyncio.get_running_loop().create_task(self._run(batch))
            self._batch.add_done_callback(self._ended)

    def _next(self) -> list[FastRequest]:
        """Return the requests of the next batch, at least one."""
        waiting, batch = self._waiting, list[FastRequest]()
        left_bytes = MAX_BATCH_BYTES
        while waiting and len(batch) < MAX_REQUESTS and (left_bytes > 0):
            request = waiting.popleft()
            left_bytes -= len(request.body)
            batch.append(request)
        return batch

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batch = None
        if not task.cancelled():
            task.result()
        self._start()

    async def _run(self, batch: list[FastRequest]) -> None:
        left_s = self.timeout_s - (time.perf_counter() - batch[0].started)
        set_context(RequestContext(time.monotonic() + left_s, lambda: all(each.disconnected for each in batch)))
        set_request_id(batch[0].request_id)
        self.shutdown.enter()
        try:
            outcomes = await self.operation.answer_each([request.body for request in batch])
            for request, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    request.fall_back()
                else:
                    request.answer(outcome)
            self.recorder.metrics.count_fast_path(
                self.operation.route or self.path, sum(isinstance(outcome, bytes) for outcome in outcomes)
            )
        except _RUNNER_ERRORS as error:
            for request in batch:
                self._refuse(request, error)
        except asyncio.CancelledError:
            if not self.shutdown.is_over:
                raise
            for request in batch:
                self._refuse(request, ServiceStopping())
        except Exception:
            # One request may be at fault: the application answers each alone.
            for request in batch:
                if not request.response_complete:
                    request.fall_back()
        finally:
            for request in batch:
                request.abandon()
            self.shutdown.leave()

    def _refuse(self, request: FastRequest, error: Exception) -> None:
        left_s = self.timeout_s - (time.perf_counter() - request.started)
        if isinstance(error, DeadlineExceeded) and left_s > 0.001:
            # The first request of the batch is late; this one is not.
            request.scope["headers"].append((TIMEOUT_HEADER, b"%.3f" % left_s))
            request.fall_back()
            return
        set_request_id(request.request_id)
        response = problem_of(error if left_s > 0 else DeadlineExceeded(TOO_LATE), instance=self.path)
        request.respond(response.status_code, response.raw_headers, bytes(response.body))


BatchQueues = Mapping[bytes, BatchQueue]
