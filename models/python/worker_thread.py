"""One thread that makes all calls of a user's class: `load`, then every `predict`.

Libraries bind what they open to a thread (sqlite3, CUDA contexts, event loops), and a class without locks is safe.
The thread is a daemon: a call that hangs does not prevent the process from exiting.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

R = TypeVar("R")
_Job = tuple["Future[Any]", Callable[[], Any]]  # Any: results of any function


class WorkerThread:
    """A thread that ends with this object."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def run(self, function: Callable[[], R]) -> R:
        """Run `function` in the thread, with the context variables of the caller, and return its result.

        Raises what it raises; RuntimeError for what would end the thread, such as SystemExit.
        """
        future: Future[R] = Future()
        context = copy_context()
        self._jobs.put((future, lambda: context.run(function)))
        try:
            return future.result()
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"the class raised {type(error).__name__}") from error


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        future, function = job
        try:
            future.set_result(function())
        except BaseException as error:  # delivered through the future
            future.set_exception(error)
        # Otherwise these names keep a batch alive until the next one.
        del job, future, function
