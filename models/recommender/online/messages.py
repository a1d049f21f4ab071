"""What a recommender is asked and what it answers, and both as JSON for the way between processes.

Knows ids and text, never arrays. Items are short lists in a fixed order, not objects: half the bytes and half the time.
What is not set is not sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from models.errors import InvalidInput
from models.recommender.dataset.encoding import Value

Reason = Literal[
    "request_history",  # made from the items that came with the request
    "recent_events",  # made with what the user did since the model was trained
    "user_features",  # the user has no items yet: made from the user's features
    "segment",  # the user has no items yet: popular among users who share features
    "unknown_user",  # no such user anywhere: popular items
    "missing_features",  # a known user without items, and without a row of features: popular items
    "no_history",  # a known user without items, and features that no model here can use: popular items
]
ErrorKind = Literal["invalid", "failed", "unknown"]
CauseKind = Literal["item", "feature", "segment", "popularity"]


@dataclass(frozen=True, slots=True)
class Choice:
    """Items by id, or by a category of theirs."""

    ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ids or self.categories)


@dataclass(frozen=True, slots=True)
class Rules:
    """What an answer has to keep to, whatever the model says.

    Only what `allow` names, when it names anything; nothing that `deny` names; only items with one of `categories`,
    when there are any; no score below `min_score`; at most `max_per_category` items of each category, and at most
    `category_caps[c]` of category c; `diversity` from 0 (best first) to 1 (as unlike each other as can be).
    """

    allow: Choice = Choice()
    deny: Choice = Choice()
    categories: tuple[str, ...] = ()
    diversity: float = 0.0
    min_score: float | None = None
    max_per_category: int | None = None
    category_caps: Mapping[str, int] = field(default_factory=dict)


NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class Query:
    """One question: the best `n` items for a user.

    `model` is one of the algorithms in the artifact, None for its default. `history` holds ids of items that the user
    has also interacted with; those that are not known are passed over. `user_features` are attributes of the user by
    name; they go before what the feature store knows. `explain` asks what spoke for each item.
    """

    user_id: str
    n: int = 10
    filter_seen: bool = True
    model: str | None = None
    history: tuple[str, ...] = ()
    user_features: Mapping[str, Value] = field(default_factory=dict)
    rules: Rules = NO_RULES
    explain: bool = False

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """What `from_json` makes an equal query of."""
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
        """Raises InvalidInput when `encoded` is not what `to_json` gives. Only `user_id` must be there."""
        try:
            if len(encoded) == 3:
                return cls(**encoded)
            changed = {"history": tuple(encoded.get("history", ()))}
            if "rules" in encoded:
                changed["rules"] = _rules(encoded["rules"])  # type: ignore[assignment]  # values of several types
            return cls(**{**encoded, **changed})
        except (TypeError, AttributeError) as error:
            raise InvalidInput("not a query for a recommender") from error


def _rules(encoded: Any) -> Rules:  # Any: JSON
    choices = {
        name: Choice(tuple(encoded[name]["ids"]), tuple(encoded[name]["categories"]))
        for name in ("allow", "deny")
        if name in encoded
    }
    return Rules(**{**encoded, **choices, "categories": tuple(encoded.get("categories", ()))})


@dataclass(frozen=True, slots=True)
class Cause:
    """What spoke for an item: an item of the user, a feature or the segment of the user, or that many like it.

    `name` is the item's id, or the feature. `weight` compares with the other causes of the same item only.
    """

    kind: CauseKind
    name: str
    weight: float
    title: str = ""


class ScoredItem(NamedTuple):
    """One recommended item. `title` is "" where the training data had none. Scores compare within one answer only."""

    id: str
    title: str
    score: float
    causes: tuple[Cause, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """Items for one query, best first; fewer than asked for when the catalogue has no more.

    `model` is the algorithm that made it, "popular" when it stood in. `reason` says why the answer is not the plain
    one for a known user. With an `error` there are no items: `error_kind` "invalid" means that the query was at fault
    (the message may be shown to the caller) at `location`, "failed" that the model was. `features` says whether the
    user has a row in the feature store, where the answer depended on it.
    """

    items: tuple[ScoredItem, ...]
    model: str
    reason: Reason | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None
    location: tuple[str | int, ...] = ()
    features: Literal["found", "missing"] | None = None

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """What `from_json` makes an equal answer of."""
        encoded: dict[str, Any] = {
            "items": [_item(item) for item in self.items],
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
        """Raises KeyError or TypeError when `encoded` is not what `to_json` gives."""
        return cls(
            tuple([ScoredItem(*item) if len(item) == 3 else _caused(*item) for item in encoded["items"]]),
            encoded["model"],
            encoded["reason"],
            encoded["error"],
            encoded["error_kind"],
            tuple(encoded.get("location", ())),
            encoded.get("features"),
        )


def _item(item: ScoredItem) -> tuple[Any, ...]:  # Any: JSON
    if not item.causes:
        return item[:3]
    return (item.id, item.title, item.score, [(each.kind, each.name, each.weight, each.title) for each in item.causes])


def _caused(id_: str, title: str, score: float, causes: Any) -> ScoredItem:  # Any: JSON
    return ScoredItem(id_, title, score, tuple([Cause(*each) for each in causes]))
