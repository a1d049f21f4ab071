"""Answers sampled under load and compared with the right ones: what a load generator does not look at.

A batching server that mixes up its callers answers 200 with somebody else's result; only this sees it.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from benchmarks.questions import Question, WrongStatus, ask

_EVERY_S = 0.1
_TIMEOUT_S = 15.0
_SHOWN = 3


@dataclass(slots=True)
class Sampled:
    """How many answers were looked at, were wrong, did not come; and the first few faults in words."""

    asked: int = 0
    wrong: int = 0
    failed: int = 0
    faults: list[str] | None = None

    def note(self, fault: str) -> None:
        self.faults = self.faults or []
        if len(self.faults) < _SHOWN:
            self.faults.append(fault)


class Sampler:
    """Asks one question after the other, ten a second, in a thread of its own, while the block runs."""

    def __init__(self, port: int, questions: Sequence[Question], *, every_s: float = _EVERY_S) -> None:
        self.result = Sampled()
        self._port = port
        self._questions = questions
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_TIMEOUT_S * 2)

    def _run(self) -> None:
        turn = 0
        while not self._ended.wait(self._every_s):
            check(self._port, self._questions[turn % len(self._questions)], self.result)
            turn += 1


def check(port: int, question: Question, result: Sampled) -> None:
    """Ask once and write into `result` what came of it."""
    result.asked += 1
    started = time.monotonic()
    try:
        found = question.read(ask(port, question, timeout_s=_TIMEOUT_S))
    except (WrongStatus, OSError, http.client.HTTPException) as error:
        result.failed += 1
        result.note(f"{type(error).__name__} after {time.monotonic() - started:.1f} s: {error}")
    except (LookupError, TypeError, ValueError) as error:
        result.wrong += 1
        result.note(f"unreadable: {type(error).__name__}: {error}")
    else:
        if question.expected is not None and not question.accepts(found, question.expected):
            result.wrong += 1
            result.note(f"{str(found)[:120]} instead of {str(question.expected)[:120]}")
