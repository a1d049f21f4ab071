"""What a recommender is asked and what it answers, and both as JSON for the way between processes.

Knows ids and text, never arrays. Items are short lists in a fixed order, not objects: half the bytes and half the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from models.errors import InvalidInput

Reason = Literal[
    "request_history",  # made from the items that came with the request
    "user_features",  # the user has no items yet: made from the user's features
    "unknown_user",  # no such user in the training data: popular items
    "no_history",  # a user without items, and a model that needs some: popular items
]
ErrorKind = Literal["invalid", "failed"]


@dataclass(frozen=True, slots=True)
class Query:
    """One question: the best `n` items for a user.

    `model` is one of the algorithms in the artifact, None for its default. `history` holds ids of items that the user
    has also interacted with; those that are not known are passed over.
    """

    user_id: str
    n: int = 10
    filter_seen: bool = True
    model: str | None = None
    history: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """What `from_json` makes an equal query of."""
        return {
            "user_id": self.user_id,
            "n": self.n,
            "filter_seen": self.filter_seen,
            "model": self.model,
            "history": list(self.history),
        }

    @classmethod
    def from_json(cls, encoded: Any) -> Query:  # Any: JSON
        """Raises InvalidInput when `encoded` is not what `to_json` gives. Only `user_id` must be there."""
        try:
            return cls(**{**encoded, "history": tuple(encoded.get("history", ()))})
        except (TypeError, AttributeError) as error:
            raise InvalidInput("not a query for a recommender") from error


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """One recommended item. `title` is "" where the training data had none. Scores compare within one answer only."""

    id: str
    title: str
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Items for one query, best first; fewer than asked for when the catalogue has no more.

    `model` is the algorithm that made it, "popular" when it stood in. `reason` says why the answer is not the plain
    one for a known user. With an `error` there are no items: `error_kind` "invalid" means that the query was at fault
    (the message may be shown to the caller), "failed" that the model was.
    """

    items: tuple[ScoredItem, ...]
    model: str
    reason: Reason | None = None
    error: str | None = None
    error_kind: ErrorKind | None = None

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """What `from_json` makes an equal answer of."""
        return {
            "items": [(item.id, item.title, item.score) for item in self.items],
            "model": self.model,
            "reason": self.reason,
            "error": self.error,
            "error_kind": self.error_kind,
        }

    @classmethod
    def from_json(cls, encoded: Any) -> Answer:  # Any: JSON
        """Raises KeyError or TypeError when `encoded` is not what `to_json` gives."""
        items = tuple([ScoredItem(*item) for item in encoded["items"]])
        return cls(items, encoded["model"], encoded["reason"], encoded["error"], encoded["error_kind"])
