"""A batch of a job's items, answered through the calls of the API: one line per item, whatever becomes of the others.

Knows calls and items, no files. What another try may mend, a runner that is gone or a full queue, is raised; every
other fault is that of an item, which is found by halving, and is in its line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from models.errors import (
    DeadlineExceeded,
    InputError,
    InputTooLarge,
    InvalidInput,
    Overloaded,
    PredictionFailed,
    RunnerUnavailable,
)
from serving.errors.faults import faults_of
from serving.errors.mapping import detail_of, problem_type_of
from serving.jobs.storage.item_file import Item
from serving.kinds.image.handler import ImageHandler
from serving.kinds.image.schemas import ClassifyOptions, ImageFailure
from serving.kinds.recommender.handler import RecommenderHandler
from serving.kinds.recommender.schemas import BulkRecommendRequest, UserFailure
from serving.kinds.tabular.handler import TabularHandler
from serving.runners.interface import ModelRef
from serving.schemas.fields import ModelUsed

# What another try may mend: no item is at fault.
TRANSIENT = (Overloaded, RunnerUnavailable, DeadlineExceeded)
_FAULTS: Mapping[str, type[InputError]] = {"invalid": InvalidInput, "too-large": InputTooLarge}
Options = Mapping[str, Any]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an item got: the rest of its line, and the model that answered it."""

    content: Mapping[str, Any]  # Any: JSON
    model: ModelRef | None = None

    @property
    def is_ok(self) -> bool:
        """Whether it is an answer."""
        return bool(self.content["status"] == "ok")


class Answers(Protocol):
    """Answers the items of one kind of job, `batch_items` at a time."""

    batch_items: int

    async def answer(self, items: Sequence[Item], options: Options) -> list[Outcome]:
        """One outcome per item, in order. Raises what is TRANSIENT."""
        ...


def failed(error: Exception) -> Outcome:
    """The outcome of an item that has no answer. Not logged: there may be a million of them, and the engine does."""
    kind = problem_type_of(error)
    problem = {"type": kind.type, "title": kind.title, "status": kind.status, "detail": detail_of(error)}
    return Outcome({"status": "error", "error": problem})


async def each_answered(
    items: Sequence[Item], ask: Callable[[Sequence[Item]], Awaitable[list[Outcome]]]
) -> list[Outcome]:
    """An outcome for each item: those with a fault are not asked, and one that spoils a batch fails alone."""
    outcomes: list[Outcome | None] = [_fault_of(item) for item in items]
    asked = [place for place, outcome in enumerate(outcomes) if outcome is None]

    async def ask_part(places: list[int]) -> None:
        if not places:
            return
        try:
            answered = await ask([items[place] for place in places])
        except TRANSIENT:
            raise
        except Exception as error:
            if len(places) == 1:
                outcomes[places[0]] = failed(error)
                return
            middle = len(places) // 2
            await ask_part(places[:middle])
            await ask_part(places[middle:])
            return
        for place, outcome in zip(places, answered, strict=True):
            outcomes[place] = outcome

    await ask_part(asked)
    return [outcome or failed(PredictionFailed("no answer")) for outcome in outcomes]


def _fault_of(item: Item) -> Outcome | None:
    fault = item.head.get("fault")
    return None if fault is None else failed(_FAULTS[item.head.get("kind", "invalid")](fault))


class RowAnswers:
    """Rows of a table. A small batch: a request that comes meanwhile waits for no more than one."""

    def __init__(self, calls: TabularHandler, *, max_rows: int) -> None:
        self._calls = calls
        self.batch_items = min(64, max_rows)

    async def answer(self, items: Sequence[Item], options: Options) -> list[Outcome]:
        """One prediction or error per row."""
        return await each_answered(items, self._ask)

    async def _ask(self, items: Sequence[Item]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        left = list(range(len(items)))
        while left:
            try:
                answer = (await self._calls.predict([items[place].head["row"] for place in left])).to_response()
            except (ValidationError, InvalidInput) as error:
                faults = _by_row(error)
                if not faults:
                    raise
                outcomes |= {left[row]: failed(fault) for row, fault in faults.items()}
                left = [place for row, place in enumerate(left) if row not in faults]
            else:
                model = _model(answer.model)
                for place, row in zip(left, answer.predictions, strict=True):
                    outcomes[place] = Outcome({"status": "ok", **row.model_dump()}, model)
                break
        return [outcomes[place] for place in range(len(items))]


def _by_row(error: ValidationError | InvalidInput) -> dict[int, InvalidInput]:
    """The first fault of each row that has one."""
    located = [(tuple(error.location), str(error))] if isinstance(error, InvalidInput) else []
    if isinstance(error, ValidationError):
        located = [(("body", *fault.location), fault.message) for fault in faults_of(error)]
    found: dict[int, InvalidInput] = {}
    for location, message in located:
        match location:
            case ("body", "instances", int(row), *rest):
                where = ".".join(str(part) for part in rest)
                found.setdefault(row, InvalidInput(f"{where}: {message}" if where else message))
    return found


class ImageAnswers:
    """Images. Few at a time: their decoding shares threads with that of requests."""

    def __init__(self, calls: ImageHandler) -> None:
        self._calls = calls
        self.batch_items = min(4, calls.max_images)

    async def answer(self, items: Sequence[Item], options: Options) -> list[Outcome]:
        """Classes or an error for each image."""
        asked = ClassifyOptions.model_validate(dict(options))

        async def ask(part: Sequence[Item]) -> list[Outcome]:
            answer = await self._calls.classify_many([item.body for item in part], asked)
            return [_outcome(each, answer.model, {"index"}) for each in answer.results]

        return await each_answered(items, ask)


class UserAnswers:
    """Users to recommend to."""

    def __init__(self, calls: RecommenderHandler) -> None:
        self._calls = calls
        self.batch_items = min(16, calls.max_users)

    async def answer(self, items: Sequence[Item], options: Options) -> list[Outcome]:
        """Recommendations or an error for each user."""

        async def ask(part: Sequence[Item]) -> list[Outcome]:
            # Two lines of one user may tell different things of them, and a request keeps those by the user's id.
            user_ids = [str(item.head["user_id"]) for item in part]
            known = {name: item.head for name, item in zip(user_ids, part, strict=True) if len(item.head) > 1}
            if known and len(set(user_ids)) < len(user_ids) and len(part) > 1:
                return [outcome for item in part for outcome in await ask([item])]
            per_user = {
                name: {key: value for key, value in head.items() if key != "user_id"} for name, head in known.items()
            }
            request = BulkRecommendRequest.model_validate({**options, "user_ids": user_ids, "per_user": per_user})
            answer = await self._calls.recommend_bulk(request)
            return [_outcome(each, answer.model, {"index", "user_id"}) for each in answer.results]

        return await each_answered(items, ask)


def _outcome(result: Any, model: ModelUsed | None, left_out: set[str]) -> Outcome:  # Any: one of several results
    content = result.model_dump(exclude=left_out)
    is_failure = isinstance(result, ImageFailure | UserFailure)
    return Outcome(content, None if is_failure or model is None else _model(model))


def _model(model: ModelUsed) -> ModelRef:
    return ModelRef(model.name, model.version)
