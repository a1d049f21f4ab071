"""The outcomes of a batch of items, and how one faulty item fails without the others.

Errors that may disappear on another attempt, such as a lost runner or a full queue, are raised. Every other error is
the outcome of one item, which is found by bisection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from models.errors import (
    DeadlineExceeded,
    InputError,
    InputTooLarge,
    InvalidInput,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
)
from serving.errors.mapping import detail_of, problem_type_of
from serving.jobs.storage.item_file import JobItem
from serving.runners.interface import ModelRef

# Errors of the service, not of an item. Another attempt may succeed.
TRANSIENT: Final = (Overloaded, RunnerUnavailable, DeadlineExceeded)
_FAULTS: Mapping[str, type[InputError]] = {"invalid": InvalidInput, "too-large": InputTooLarge}
Options = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one item: the content of its line, and the model that answered it."""

    content: Mapping[str, Any]  # Any: JSON
    model: ModelRef | None = None

    @property
    def is_ok(self) -> bool:
        """Whether the item was answered without an error."""
        return bool(self.content["status"] == "ok")


def error_outcome(error: Exception) -> Outcome:
    """Return the outcome of an item that failed. It is not logged, because a job may have a million of them."""
    problem_type = problem_type_of(error)
    problem = {
        "type": problem_type.type,
        "title": problem_type.title,
        "status": problem_type.status,
        "detail": detail_of(error),
    }
    return Outcome({"status": "error", "error": problem})


async def process_each(
    items: Sequence[JobItem], process: Callable[[Sequence[JobItem]], Awaitable[list[Outcome]]]
) -> list[Outcome]:
    """Return an outcome for each item. Items with a fault are not processed.

    When `process` raises an error that is not TRANSIENT, its batch is split in halves until the faulty items are found.
    """
    outcomes: list[Outcome | None] = [_fault_outcome(item) for item in items]

    async def process_part(positions: list[int]) -> None:
        if not positions:
            return
        try:
            results = await process([items[position] for position in positions])
        except TRANSIENT:
            raise
        except Exception as error:
            if len(positions) == 1:
                outcomes[positions[0]] = error_outcome(error)
                return
            middle = len(positions) // 2
            await process_part(positions[:middle])
            await process_part(positions[middle:])
            return
        for position, outcome in zip(positions, results, strict=True):
            outcomes[position] = outcome

    await process_part([position for position, outcome in enumerate(outcomes) if outcome is None])
    return [outcome or error_outcome(PredictionFailed("no answer")) for outcome in outcomes]


def _fault_outcome(item: JobItem) -> Outcome | None:
    fault = item.head.get("fault")
    return None if fault is None else error_outcome(_FAULTS[item.head.get("kind", "invalid")](fault))
