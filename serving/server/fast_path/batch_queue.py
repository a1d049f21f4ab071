"""Gathers what was asked meanwhile, and has it answered by one call. Knows requests as bytes, no model.

Group commit once more, one step earlier: what comes while a call is under way is not even parsed until it returns, and
is then read, encoded and answered together.
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
from serving.http.middleware.timeout import HEADER as TIMEOUT_HEADER
from serving.http.problem_details import problem_of
from serving.observability.access_log import AccessLog
from serving.observability.metrics import ServiceMetrics
from serving.process.graceful_shutdown import GracefulShutdown
from serving.runners.batching import TOO_LATE
from serving.server.fast_path.request import FastRequest

# From the JSON bodies of several requests to the JSON of each answer, or None where the ordinary road has to say what
# is wrong. `current_caller` has the deadline.
AnswerEach = Callable[[Sequence[bytearray]], Awaitable[Sequence[bytes | None]]]
Headers = Sequence[tuple[bytes, bytes]]

MAX_REQUESTS: Final = 64
# More than so many, and the next go the ordinary road, whose queue is bounded by a setting and refuses at once.
MAX_WAITING: Final = 256
# These say of the runner, not of a request, that it cannot be answered: asking again would be no use.
_OF_THE_RUNNER: Final = (RunnerUnavailable, Overloaded, DeadlineExceeded)


@dataclass(frozen=True, slots=True)
class FastOperation:
    """A call that has a short road. `admits` and `is_available` must not wait; False is no refusal."""

    path: str
    answer_each: AnswerEach
    admits: Callable[[Headers], bool]
    is_available: Callable[[], bool]
    max_waiting: int = MAX_WAITING
    # Whether a request is answered without a call, by what is kept. It answers, now or later.
    repeats: Callable[[FastRequest], bool] | None = None


@dataclass(eq=False, slots=True)
class BatchQueue:
    """The requests to one call. One batch is under way at a time."""

    call: FastOperation
    telemetry: ServiceMetrics
    access_log: AccessLog | None
    draining: GracefulShutdown
    timeout_s: float
    _waiting: deque[FastRequest] = field(default_factory=deque)
    _batch: asyncio.Task[None] | None = None
    _is_due: bool = False

    @property
    def path(self) -> str:
        """The path of the call."""
        return self.call.path

    def is_open(self) -> bool:
        """Whether a plain request may come this way now."""
        return not self.draining.is_begun and len(self._waiting) < self.call.max_waiting and self.call.is_available()

    def admits(self, headers: Headers) -> bool:
        """Whether its caller may come this way; the ordinary road says why not."""
        return self.call.admits(headers)

    def take(self, asked: FastRequest) -> None:
        """Have `asked` answered with the next batch, unless its answer is there."""
        self.telemetry.request_started()
        self.draining.enter()
        if self.call.repeats is not None and self.call.repeats(asked):
            return
        self._waiting.append(asked)
        if self._batch is None and not self._is_due:
            # Not now: what other connections have sent is read before.
            self._is_due = True
            asked.protocol.loop.call_soon(self._start)

    def answered(self, asked: FastRequest, status: int, seconds: float) -> None:
        """Told by `asked` when it is."""
        self.telemetry.request_ended(self.path, "POST", status, seconds)
        if self.access_log is not None:
            self.access_log.write(asked.request_id, "POST", self.path, status, 1000 * seconds)
        self.draining.leave()

    def gave_up(self, asked: FastRequest) -> None:
        """Told by `asked` when the ordinary road takes it."""
        if not asked.more_body:
            self.telemetry.request_released()
            self.draining.leave()

    def waited_in_vain(self, asked: FastRequest) -> None:
        """Told when what `asked` waited for has failed: the ordinary road has what is left of its time."""
        self._refuse(asked, DeadlineExceeded(TOO_LATE))

    def _start(self) -> None:
        self._is_due = False
        waiting = self._waiting
        if waiting:
            batch = [waiting.popleft() for _ in range(min(len(waiting), MAX_REQUESTS))]
            self._batch = asyncio.get_running_loop().create_task(self._run(batch))
            self._batch.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._batch = None
        if not task.cancelled():
            task.result()
        self._start()

    async def _run(self, batch: list[FastRequest]) -> None:
        left_s = self.timeout_s - (time.perf_counter() - batch[0].started)
        set_context(RequestContext(time.monotonic() + left_s, lambda: all(asked.disconnected for asked in batch)))
        set_request_id(batch[0].request_id)
        self.draining.enter()
        try:
            answers = await self.call.answer_each([asked.body for asked in batch])
            for asked, answer in zip(batch, answers, strict=True):
                if answer is None:
                    asked.divert()
                else:
                    asked.answer(answer)
            self.telemetry.count_fast_path(self.path, sum(answer is not None for answer in answers))
        except _OF_THE_RUNNER as error:
            for asked in batch:
                self._refuse(asked, error)
        except asyncio.CancelledError:
            if not self.draining.is_over:
                raise
            for asked in batch:
                self._refuse(asked, RunnerUnavailable("the service is stopping"))
        except Exception:
            # One of them may be at fault: alone, each gets its own answer.
            for asked in batch:
                if not asked.response_complete:
                    asked.divert()
        finally:
            for asked in batch:
                asked.leave()
            self.draining.leave()

    def _refuse(self, asked: FastRequest, error: Exception) -> None:
        left_s = self.timeout_s - (time.perf_counter() - asked.started)
        if isinstance(error, DeadlineExceeded) and left_s > 0.001:
            # The first of the batch is late; this one is not.
            asked.scope["headers"].append((TIMEOUT_HEADER, b"%.3f" % left_s))
            asked.divert()
            return
        set_request_id(asked.request_id)
        response = problem_of(error if left_s > 0 else DeadlineExceeded(TOO_LATE), instance=self.path)
        asked.respond(response.status_code, response.raw_headers, bytes(response.body))


BatchQueues = Mapping[bytes, BatchQueue]
