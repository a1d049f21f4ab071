"""The strategy for a query: the algorithm, its input, and the excluded items.

Inputs for cold start, in this order: the history in the request, recent events, user features, popularity in the
segment of the user, popularity.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.algorithms.popularity import Popularity
from models.recommender.algorithms.top_k import Items
from models.recommender.online.messages import Query, Reason
from models.recommender.online.segments import Segment
from models.recommender.online.state import RecommenderState
from models.recommender.registry import AnyAlgorithm

# The input of scoring.
Source = Literal["row", "history", "features", "segment", "anyone"]


def _no_items() -> Items:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Strategy:
    """The strategy for one query. `row` is -1 for a user who is not in the artifact."""

    position: int
    query: Query
    algorithm: AnyAlgorithm
    source: Source
    row: int = -1
    history: sparse.csr_array | None = None
    features: sparse.csr_array | None = None
    segment: Segment | None = None
    reason: Reason | None = None
    feature_row: Literal["found", "missing"] | None = None
    seen: Items = field(default_factory=_no_items)
    """Items that `filter_seen` excludes."""
    disliked: Items = field(default_factory=_no_items)
    """Items that the user disliked: always excluded."""


@dataclass(frozen=True, slots=True)
class _UserItems:
    """The items of a user: from the request, from the artifact, and from recent events."""

    requested: Items
    trained: Items
    liked: Items
    disliked: Items

    @property
    def is_as_trained(self) -> bool:
        """Whether the artifact holds exactly the liked items of the user."""
        if len(self.requested) or len(self.liked):
            return False
        return not len(self.disliked) or not np.isin(self.trained, self.disliked).any()

    @property
    def seen(self) -> Items:
        """All items except those of dislike events alone."""
        return (
            np.concatenate((self.trained, self.liked, self.requested))
            if len(self.liked) or len(self.requested)
            else self.trained
        )

    @property
    def preferred(self) -> Items:
        """The items that express the preferences of the user."""
        trained = self.trained[np.isin(self.trained, self.disliked, invert=True)]
        return np.concatenate((trained, self.liked, self.requested))


def choose_strategy(position: int, query: Query, state: RecommenderState) -> Strategy:
    """Choose the strategy for a query. Raise InvalidInput with the location of the error."""
    if not isinstance(query.n, int) or query.n < 1:
        raise InvalidInput(f"n must be a whole number of at least 1, not {query.n!r}", location=("n",))
    algorithm = _requested_algorithm(query, state)
    _check_capabilities(query, algorithm, state)
    row = state.contents.users.row(query.user_id)
    row = -1 if row is None else row
    liked, disliked = state.recent_items(query.user_id)
    items = _UserItems(state.rows(query.history), state.seen(row), liked, disliked)
    start = Strategy(position, query, algorithm, "anyone", row=row, seen=items.seen, disliked=disliked)
    # Always encoded, because an unknown name is an error for every user.
    requested = state.encode(query.user_features, is_strict=True) if query.user_features else None
    chosen = _warm(start, items, state) or _cold(start, requested, state)
    if query.explain and chosen.source in ("row", "history") and not chosen.algorithm.supports("explanations"):
        raise state.unsupported(chosen.algorithm, "explanations")
    return chosen


def _requested_algorithm(query: Query, state: RecommenderState) -> AnyAlgorithm:
    """Return the named algorithm; without a name the default, or for explanations the first that supports them."""
    algorithm = state.algorithm(query.model)
    if not query.explain or algorithm.supports("anyone") or algorithm.supports("explanations"):
        return algorithm
    if query.model is not None:
        raise state.unsupported(algorithm, "explanations")
    return next(iter(state.supporting("explanations")), algorithm)


def _check_capabilities(query: Query, algorithm: AnyAlgorithm, state: RecommenderState) -> None:
    """Raise InvalidInput when the named algorithm does not support the query."""
    if query.model is None:
        return
    if query.history and not algorithm.supports("history"):
        raise state.unsupported(algorithm, "history")
    if query.user_features and not query.history and not algorithm.supports("user_features"):
        raise state.unsupported(algorithm, "user_features")


def _warm(start: Strategy, items: _UserItems, state: RecommenderState) -> Strategy | None:
    """Return the strategy for a user with items, or for an algorithm that is not personalised."""
    if start.algorithm.supports("anyone"):
        return start if state.knows_user(start.query.user_id) else replace(start, reason="unknown_user")
    if not items.is_as_trained and len(history := items.preferred):
        reason: Reason = "request_history" if len(items.requested) else "recent_events"
        algorithm = _supporting_algorithm(start, "history", state)
        if algorithm is not None:
            return replace(start, algorithm=algorithm, source="history", history=state.history(history), reason=reason)
    if len(items.trained) and start.algorithm.supports("known_users"):
        feature_row = state.feature_row(start.query.user_id, start.row) if start.algorithm.reads_attributes else None
        return replace(start, source="row", feature_row=feature_row)
    return None


def _cold(start: Strategy, requested: sparse.csr_array | None, state: RecommenderState) -> Strategy:
    """Return the strategy for a user without items. `requested` are the features in the request."""
    query, features = start.query, requested
    is_known = state.knows_user(query.user_id)
    feature_row: Literal["found", "missing"] | None = None
    if features is None:
        features = state.known_features(query.user_id, start.row)
        if is_known and state.has_user_features:
            feature_row = "missing" if features is None else "found"
    if features is not None:
        start = replace(start, features=features, feature_row=feature_row)
        algorithm = _supporting_algorithm(start, "user_features", state)
        if algorithm is not None:
            return replace(start, algorithm=algorithm, source="features", reason="user_features")
        segment = state.segments.find(features)
        if segment is not None:
            return replace(start, algorithm=state.popular, source="segment", segment=segment, reason="segment")
    reason: Reason = "unknown_user"
    if is_known:
        reason = "missing_features" if feature_row == "missing" else "no_history"
    return replace(start, algorithm=state.popular, source="anyone", reason=reason, feature_row=feature_row)


def _supporting_algorithm(
    start: Strategy, capability: Literal["history", "user_features"], state: RecommenderState
) -> AnyAlgorithm | None:
    """Return the algorithm of `start`; if unnamed and without the capability, the first personalised one with it."""
    if start.algorithm.supports(capability):
        return start.algorithm
    if start.query.model is not None:
        return None
    return next((each for each in state.supporting(capability) if not isinstance(each, Popularity)), None)
