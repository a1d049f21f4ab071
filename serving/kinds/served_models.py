"""What the gateway serves: for each kind of model its runner and what is needed around it.

`service.py` fills this in. Knows protocols, no model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.card import Card
from serving.kinds.recommender.schemas import CauseKind, Reason
from serving.runners.interface import ModelRef, QueryRunner, RowsRunner, Runner, model_of
from serving.versions.router import VersionRouter

ErrorKind = Literal["invalid", "failed", "unknown"]


class RowEncoder(Protocol):
    """From rows of JSON values to the array that a tabular model takes."""

    def encode(self, rows: Sequence[Mapping[str, object]]) -> NDArray[np.float32]:
        """float32 (N, F). Raises InvalidInput with the location `(row, column)`."""
        ...


@dataclass(frozen=True, slots=True)
class ImageModelVersion:
    """What goes with one version of an image classifier. Two of the same `takes` decode alike."""

    card: Card
    decode: Callable[[bytes], NDArray[np.uint8]]
    fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    takes: object = None


@dataclass(frozen=True, slots=True)
class ServedImages:
    """An image classifier.

    `decode` turns a file into the uint8 (H, W, 3) that the runner takes, and raises InputError; it is called in
    threads, as is `fit`, which makes the same of pixels, uint8 (H, W, 3) of any size. `card` is that of the model
    served now: it may be another one at the next call. `edition` gives all three for a version; without it all versions
    are taken to be alike.
    """

    runner: RowsRunner
    card: Callable[[], Card]
    decode: Callable[[bytes], NDArray[np.uint8]]
    fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
    edition: Callable[[str | None], ImageModelVersion] | None = None
    traffic: VersionRouter = field(default_factory=VersionRouter)


@dataclass(frozen=True, slots=True)
class ServedTable:
    """A tabular model. `encoder` makes the encoder of a card; it is asked once per card.

    `card_of` gives the card of a version; without it all versions are taken to be alike.
    """

    runner: RowsRunner
    card: Callable[[], Card]
    encoder: Callable[[Card], RowEncoder]
    card_of: Callable[[str], Card] | None = None
    traffic: VersionRouter = field(default_factory=VersionRouter)


def answering_model(served: ServedImages | ServedTable) -> ModelRef | None:
    """The model that answers the current request, as far as is known here. Raises as `VersionRouter.choose` does."""
    return served.traffic.model(model_of(served.runner))


class Cause(Protocol):
    """What spoke for an item. `title` is empty where there is none."""

    @property
    def kind(self) -> CauseKind: ...

    @property
    def name(self) -> str: ...

    @property
    def weight(self) -> float: ...

    @property
    def title(self) -> str: ...


class ScoredItem(Protocol):
    """One recommended item. `title` is empty where there is none."""

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def score(self) -> float: ...

    @property
    def causes(self) -> Sequence[Cause]: ...


class RecommenderAnswer(Protocol):
    """What a recommender answers to one query. With an `error` there are no items.

    `reason` says why the items are not the plain ones for a known user. `error_kind` "invalid" means that the query
    was at fault, "unknown" that it names what does not exist; `error` may be shown to the caller then.
    """

    @property
    def items(self) -> Sequence[ScoredItem]: ...

    @property
    def reason(self) -> Reason | None: ...

    @property
    def error(self) -> str | None: ...

    @property
    def error_kind(self) -> ErrorKind | None: ...

    @property
    def location(self) -> tuple[str | int, ...]: ...

    @property
    def model(self) -> str: ...

    @property
    def features(self) -> Literal["found", "missing"] | None: ...


class MakeQuery(Protocol):
    """Makes the JSON that a recommender's runner is asked. `more` is JSON too, and only what is set."""

    def __call__(self, *, user_id: str, n: int, filter_seen: bool, **more: Any) -> Any: ...  # Any: JSON


@dataclass(frozen=True, slots=True)
class ServedRecommender:
    """A recommender. `query` and `answer` go to and from the JSON of its runner."""

    runner: QueryRunner
    card: Callable[[], Card]
    query: MakeQuery
    answer: Callable[[Any], RecommenderAnswer]  # Any: JSON, the model's own
    traffic: VersionRouter = field(default_factory=VersionRouter)


class Event(Protocol):
    """One thing that a user did, as the log of the feedback takes it. Times are Unix seconds."""

    @property
    def user_id(self) -> str: ...

    @property
    def item_id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def value(self) -> float | None: ...

    @property
    def time(self) -> float: ...

    @property
    def key(self) -> str: ...


# Writes events durably before it returns, True for each that is new. May block; raises FeedbackUnavailable.
Append = Callable[[Sequence[Event]], list[bool]]


@dataclass(frozen=True, slots=True)
class Served:
    """Everything that is served. Without `feedback` none is taken."""

    images: ServedImages
    table: ServedTable
    recommender: ServedRecommender
    feedback: Append | None = None

    @property
    def runners(self) -> tuple[Runner, ...]:
        """All runners."""
        return (self.images.runner, self.table.runner, self.recommender.runner)

    def cards(self) -> tuple[Card, Card, Card]:
        """The cards of the models that are served now."""
        return (self.images.card(), self.table.card(), self.recommender.card())
