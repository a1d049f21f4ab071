"""Asks one method of a runner, checks what it answers, and finds the item that spoils a batch. Knows no transport.

The same code answers in a runner's own process and inside the gateway.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DeadlineExceeded, InputError, PredictionFailed, VersionNotLoaded
from serving.concurrency import ThreadPool
from serving.runners.host.event_loop_policy import EventLoopPolicy
from serving.runners.host.loaded_versions import wanted_version
from serving.runners.interface import FailedBy, ModelRef
from serving.runners.wire import Payload, WireRequest, WireResponse

log = logging.getLogger("makunouchi.runner")

TOO_LATE = "the model did not answer in time"
FAILED = "the model could not answer"
NOT_LOADED = "the version is not loaded at the moment"


class BatchMethod:
    """Answers batches with `function`, in up to `threads` threads; where it `may_block` the event loop, a call that is
    quicker than handing it over is made without a thread.

    `function` takes the rows of a batch, an array or a list of objects, and gives as many, in order. `answered` names
    the model that made this thread's last answer.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        *,
        answered: Callable[[], ModelRef],
        name: str,
        threads: int = 1,
        may_block: bool = False,
    ) -> None:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"the batch method of {name} must be a plain function: it runs in a thread")
        self._function = function
        self._answered = answered
        self._name = name
        self.threads = threads
        self.pace = EventLoopPolicy()
        self._may_block = may_block
        self._threads = ThreadPool(threads, name=name)

    async def answer(self, questions: Sequence[WireRequest]) -> list[WireResponse | Exception]:
        """One answer or error per question, in order. Only the question that is at fault fails."""
        rows = sum(question.rows for question in questions)
        # How quick the version is that answers by default says nothing of the others.
        is_default = not any(question.version for question in questions)
        if not self._may_block or not is_default or not self.pace.is_quick(rows):
            return await self._threads.run(self.answer_now, questions)
        started = time.perf_counter()
        answers = self.answer_now(questions)
        self.pace.took(rows, time.perf_counter() - started)
        return answers

    def answer_now(self, questions: Sequence[WireRequest]) -> list[WireResponse | Exception]:
        """`answer`, in this thread."""
        answers: list[WireResponse | Exception] = [DeadlineExceeded(TOO_LATE)] * len(questions)
        for version in dict.fromkeys(question.version for question in questions):
            now = time.monotonic()
            token = wanted_version.set(version)
            try:
                self._ask(
                    questions,
                    [index for index, item in enumerate(questions) if item.version == version and item.deadline > now],
                    answers,
                )
            finally:
                wanted_version.reset(token)
        return answers

    async def warm_up(self, question: WireRequest, *, calls: int) -> None:
        """Ask `question` some times, in a thread. Raises PredictionFailed when it is not answered."""
        quickest_s = float("inf")
        for _ in range(calls):
            started = time.perf_counter()
            answer = (await self._threads.run(self.answer_now, [question]))[0]
            quickest_s = min(quickest_s, time.perf_counter() - started)
            if not isinstance(answer, WireResponse):
                raise PredictionFailed("the example was not answered") from answer
        self.pace.warmed_up(question.rows, quickest_s)

    def close(self) -> None:
        """Start nothing more. A call under way is not waited for."""
        self._threads.close()

    def _ask(self, questions: Sequence[WireRequest], asked: list[int], answers: list[WireResponse | Exception]) -> None:
        if not asked:
            return
        try:
            values = self._call([questions[index] for index in asked])
        except VersionNotLoaded as error:
            for index in asked:
                answers[index] = error
            return
        except Exception as error:
            if len(asked) == 1:
                answers[asked[0]] = self._blame(error, questions[asked[0]])
                return
            # By halves: one bad item among n costs 2 log2(n) further calls, where one by one would cost n.
            middle, now = len(asked) // 2, time.monotonic()
            for half in (asked[:middle], asked[middle:]):
                self._ask(questions, [index for index in half if questions[index].deadline > now], answers)
            return
        model = self._answered()
        wanted = questions[asked[0]].version
        if wanted and wanted != model.version:
            # A runner that holds one version alone.
            for index in asked:
                answers[index] = VersionNotLoaded(NOT_LOADED)
            return
        start = 0
        for index in asked:
            part = values[start : start + questions[index].rows]
            start += questions[index].rows
            answers[index] = (
                WireResponse(part, model) if _is_finite(part) else self._blame(_NotFinite(), questions[index])
            )

    def _call(self, questions: list[WireRequest]) -> Payload:
        if len(questions) == 1:
            payload = questions[0].payload
        elif isinstance(questions[0].payload, list):
            payload = [row for question in questions for row in question.payload]
        else:
            payload = np.concatenate([question.payload for question in questions])
        return _checked(self._function(payload), payload)

    def _blame(self, error: Exception, question: WireRequest) -> Exception:
        if isinstance(error, InputError):
            return error
        # The model's words stay in this log: they may quote the input or name files.
        log.error("%s failed for request %s", self._name, question.request_id or "-", exc_info=error)
        return FailedBy(FAILED, self._answered())


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
        shape: NDArray[Any] = result  # Any: element types vary
        return f"an array of shape {shape.shape} and type {shape.dtype}"
    return f"{type(result).__name__} of length {len(result)}" if isinstance(result, list) else type(result).__name__
