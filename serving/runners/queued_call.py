"""Items of dynamic batching: a payload with its caller's future, and the batch that it is in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from models.errors import DeadlineExceeded, PlatformError, PredictionFailed

T = TypeVar("T")
R = TypeVar("R")

TOO_LATE: Final = "the model did not answer in time"


@dataclass(slots=True, eq=False)
class QueuedCall(Generic[T, R]):
    """One item of a batch, which is not split further (see `splitting`). `queued_at` is in `clock()` seconds.

    Only items with equal `key`, such as element type and row shape, share a batch.
    """

    payload: T
    rows: int
    size_bytes: int
    deadline: float
    key: Hashable
    request_id: str
    traceparent: str
    is_disconnected: Callable[[], bool]
    answer: asyncio.Future[R]
    queued_at: float = 0.0
    caller: str = ""
    batch: BatchInFlight | None = None
    is_queued: bool = False


@dataclass(slots=True, eq=False)
class BatchInFlight:
    """One call in flight. It is cancelled when no caller waits for its items."""

    waiting: int
    task: asyncio.Task[None] | None = None


def resolve(answer: asyncio.Future[R], result: R | Exception) -> None:
    """Set the result of an answer that is not done."""
    if answer.done():
        return
    if isinstance(result, Exception):
        answer.set_exception(result)
    else:
        answer.set_result(result)


def copy_error(error: Exception) -> Exception:
    """Return a copy for one caller: the traceback of a shared exception grows with each `raise`."""
    if isinstance(error, PlatformError):
        return type(error)(*error.args)
    failed = PredictionFailed("the model could not answer")
    failed.__cause__ = error
    return failed


def expire(answer: asyncio.Future[R]) -> None:
    """Fail an answer that is not done at its deadline."""
    if not answer.done():
        answer.set_exception(DeadlineExceeded(TOO_LATE))
