"""Queries and answers of a recommender, and their JSON between gateway and runner.

The module imports no numeric library, so that the gateway can use it. In JSON an item is a list in a fixed order, which
takes half the bytes and half the time of an object. Unset members are omitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from models.errors import InvalidInput
from models.recommender.dataset.feature_value import FeatureValue

Reason = Literal[
    "request_history",  # based on the items in the request
    "recent_events",  # based on events after training
    "user_features",  # a user without items: based on the user's features
    "segment",  # a user without items: popular among users with the same features
    "unknown_user",  # an unknown user: popular items
    "missing_features",  # a known user without items and without features: popular items
    "no_history",  # a known user without items, whose features no model uses: popular items
]
ErrorKind = Literal["invalid", "failed", "unknown"]
CauseKind = Literal["item", "feature", "segment", "popularity"]


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """A selection of items by id or by category."""

    ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ids or self.categories)


@dataclass(frozen=True, slots=True)
class Rules:
    """Business rules that apply to the result of any model.

    Only items of `allow`, unless it is empty; no item of `deny`; only items with one of `categories`, unless it is
    empty; no score below `min_score`; at most `max_per_category` items of each category and `category_caps[c]` of
    category c. `diversity` ranges from 0 (best first) to 1 (maximally dissimilar).
    """

    allow: ItemFilter = ItemFilter()
    deny: ItemFilter = ItemFilter()
    categories: tuple[str, ...] = ()
    diversity: float = 0.0
    min_score: float | None = None
    max_per_category: int | None = None
    category_caps: Mapping[str, int] = field(default_factory=dict)


NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Query:
    """A query for the best `n` items for a user.

    `model` is an algorithm of the artifact, None for its default. `history` holds ids of further items of the user;
    unknown ids are ignored. `user_features` are attributes by name and take precedence over the feature store. With
    `explain` the answer holds the causes of each item.
    """

    user_id: str
    n: int = 10
    filter_seen: bool = True
    model: str | None = None
    history: tuple[str, ...] = ()
    user_features: Mapping[str, FeatureValue] = field(default_factory=dict)
    rules: Rules = NO_RULES
    explain: bool = False

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the query as JSON, the inverse of `from_json`."""
        encoded: dict[str, Any] = {"user_id": self.user_id, "n": self.n, "filter_seen": self.filter_seen}
        if self.model is not None:
            encoded["model"] = self.model
        if self.history:
            encoded["history"] = list(self.history)
        if self.user_features:
            encoded["user_features"] = dict(self.user_features)
        if self.rules is not NO_RULES and self.rules != NO_RULES:
            encoded["rules"] = dataclasses.asdict(self.rules)
        if self.explain:
            encoded["explain"] = True
        return encoded

    @classmethod
    def from_json(cls, encoded: Any) -> Query:  # Any: JSON
        """Create a query from JSON; only `user_id` is required. Raise InvalidInput for malformed JSON."""
        try:
            if len(encoded) == 3:
                return cls(**encoded)
            members = {"history": tuple(encoded.get("history", ()))}
            if "rules" in encoded:
                members["rules"] = _rules(encoded["rules"])  # type: ignore[assignment]  # values of several types
            return cls(**{**encoded, **members})
        except (TypeError, AttributeError) as error:
            raise InvalidInput("malformed query for a recommender") from error


def _rules(encoded: Any) -> Rules:  # Any: JSON
    filters = {
        name: ItemFilter(tuple(encoded[name]["ids"]), tuple(encoded[name]["categories"]))
        for name in ("allow", "deny")
        if name in encoded
    }
    return Rules(**{**encoded, **filters, "categories": tuple(encoded.get("categories", ()))})


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause of a recommendation: an item, a feature or the segment of the user, or popularity.

    `name` is the id of the item or the name of the feature. Weights compare only within the causes of one item.
    """

    kind: CauseKind
    name: str
    weight: float
    title: str = ""


class ScoredItem(NamedTuple):
    """One recommended item. `title` is "" when unknown. Scores compare only within one answer."""

    id: str
    title: str
    score: float
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Items for one query, best first; fewer than `n` when the catalog has no more.

    `model` is the algorithm used, "popular" as a fallback. `reason` explains a fallback. With an `error` there
    are no items: `error_kind` "invalid" means an invalid query at `location` (the message may be shown to the caller),
    "failed" an error of the model. `features` reports whether the user has a row in the feature store, when the answer
    depends on it.
    """

    items: tuple[ScoredItem, ...]
    model: str
    reason: Reason | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    location: tuple[str | int, ...] = ()
    features: Literal["found", "missing"] | None = None

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the answer as JSON, the inverse of `from_json`."""
        encoded: dict[str, Any] = {
            "items": [_item_to_json(item) for item in self.items],
            "model": self.model,
            "reason": self.reason,
            "error": self.error,
            "error_kind": self.error_kind,
        }
        if self.location:
            encoded["location"] = list(self.location)
        if self.features:
            encoded["features"] = self.features
        return encoded

    @classmethod
    def from_json(cls, encoded: Any) -> Answer:  # Any: JSON
        """Create an answer from JSON of `to_json`. Raise KeyError or TypeError for malformed JSON."""
        return cls(
            tuple([ScoredItem(*item) if len(item) == 3 else _explained_item(*item) for item in encoded["items"]]),
            encoded["model"],
            encoded["reason"],
            encoded["error"],
            encoded["error_kind"],
            tuple(encoded.get("location", ())),
            encoded.get("features"),
        )


def _item_to_json(item: ScoredItem) -> tuple[Any, ...]:  # Any: JSON
    if not item.causes:
        return item[:3]
    return (item.id, item.title, item.score, [(each.kind, each.name, each.weight, each.title) for each in item.causes])


def _explained_item(id_: str, title: str, score: float, causes: Any) -> ScoredItem:  # Any: JSON
    return ScoredItem(id_, title, score, tuple([Cause(*each) for each in causes]))
