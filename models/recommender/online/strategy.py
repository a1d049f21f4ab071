"""How a query is answered: by which algorithm, from what is known of the user, with which items hidden.

Cold start, in this order: the history in the request, what the user did lately, user features, what is popular in the
user's segment, what is popular. Knows who is asked for, never scores.
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

# What scores are made from.
Source = Literal["row", "history", "features", "segment", "anyone"]


def _nothing() -> Items:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How one query is answered. `row` is -1 for somebody who is not in the artifact."""

    place: int
    query: Query
    algorithm: AnyAlgorithm
    source: Source
    row: int = -1
    history: sparse.csr_array | None = None
    features: sparse.csr_array | None = None
    segment: Segment | None = None
    reason: Reason | None = None
    feature_row: Literal["found", "missing"] | None = None
    seen: Items = field(default_factory=_nothing)
    """Items that `filter_seen` hides."""
    hidden: Items = field(default_factory=_nothing)
    """Items that the user turned down: hidden always."""


@dataclass(frozen=True, slots=True)
class _Person:
    """What is known of the items of a query's user: those of the request, of the artifact, of feedback since."""

    asked: Items
    own: Items
    liked: Items
    turned_down: Items

    @property
    def is_as_learned(self) -> bool:
        """Whether the artifact knows all of them, and none that the user has turned down since."""
        if len(self.asked) or len(self.liked):
            return False
        return not len(self.turned_down) or not np.isin(self.own, self.turned_down).any()

    @property
    def seen(self) -> Items:
        """All items that the user has to do with."""
        return np.concatenate((self.own, self.liked, self.asked)) if len(self.liked) or len(self.asked) else self.own

    @property
    def spoken_for(self) -> Items:
        """The items that speak for the user's taste."""
        own = self.own[np.isin(self.own, self.turned_down, invert=True)]
        return np.concatenate((own, self.liked, self.asked))


def choose_strategy(place: int, query: Query, knowledge: RecommenderState) -> Strategy:
    """The plan for a query. Raises InvalidInput, with the location of the fault."""
    if not isinstance(query.n, int) or query.n < 1:
        raise InvalidInput(f"n must be a whole number of at least 1, not {query.n!r}", location=("n",))
    algorithm = _asked_for(query, knowledge)
    _check_able(query, algorithm, knowledge)
    row = knowledge.contents.users.row(query.user_id)
    row = -1 if row is None else row
    liked, disliked = knowledge.recent_of(query.user_id)
    person = _Person(knowledge.rows(query.history), knowledge.seen(row), liked, disliked)
    start = Strategy(place, query, algorithm, "anyone", row=row, seen=person.seen, hidden=disliked)
    # Looked at whether or not they are needed: a wrong name is wrong for every user.
    asked = knowledge.encoded(query.user_features, is_strict=True) if query.user_features else None
    found = _warm(start, person, knowledge) or _cold(start, asked, knowledge)
    if query.explain and found.source in ("row", "history") and not found.algorithm.can("explanations"):
        raise knowledge.cannot(found.algorithm, "explanations")
    return found


def _asked_for(query: Query, knowledge: RecommenderState) -> AnyAlgorithm:
    """The algorithm of that name; without one the default or, for explanations, the first that gives them."""
    algorithm = knowledge.algorithm(query.model)
    if not query.explain or algorithm.can("anyone") or algorithm.can("explanations"):
        return algorithm
    if query.model is not None:
        raise knowledge.cannot(algorithm, "explanations")
    return next(iter(knowledge.able("explanations")), algorithm)


def _check_able(query: Query, algorithm: AnyAlgorithm, knowledge: RecommenderState) -> None:
    """An algorithm that the query names has to be able to do what the query asks of it."""
    if query.model is None:
        return
    if query.history and not algorithm.can("history"):
        raise knowledge.cannot(algorithm, "history")
    if query.user_features and not query.history and not algorithm.can("user_features"):
        raise knowledge.cannot(algorithm, "user_features")


def _warm(start: Strategy, person: _Person, knowledge: RecommenderState) -> Strategy | None:
    """For somebody whose items are known, or an algorithm that needs to know nobody."""
    if start.algorithm.can("anyone"):
        return start if knowledge.knows_user(start.query.user_id) else replace(start, reason="unknown_user")
    if not person.is_as_learned and len(history := person.spoken_for):
        reason: Reason = "request_history" if len(person.asked) else "recent_events"
        able = _able(start, "history", knowledge)
        if able is not None:
            return replace(start, algorithm=able, source="history", history=knowledge.history(history), reason=reason)
    if len(person.own) and start.algorithm.can("known_users"):
        state = knowledge.feature_row(start.query.user_id, start.row) if start.algorithm.reads_attributes else None
        return replace(start, source="row", feature_row=state)
    return None


def _cold(start: Strategy, asked: sparse.csr_array | None, knowledge: RecommenderState) -> Strategy:
    """For somebody without items. `asked` are the features that came with the request."""
    query, features = start.query, asked
    is_known = knowledge.knows_user(query.user_id)
    state: Literal["found", "missing"] | None = None
    if features is None:
        features = knowledge.known_features(query.user_id, start.row)
        if is_known and knowledge.has_user_features:
            state = "missing" if features is None else "found"
    if features is not None:
        start = replace(start, features=features, feature_row=state)
        able = _able(start, "user_features", knowledge)
        if able is not None:
            return replace(start, algorithm=able, source="features", reason="user_features")
        segment = knowledge.segments.find(features)
        if segment is not None:
            return replace(start, algorithm=knowledge.popular, source="segment", segment=segment, reason="segment")
    reason: Reason = "unknown_user"
    if is_known:
        reason = "missing_features" if state == "missing" else "no_history"
    return replace(start, algorithm=knowledge.popular, source="anyone", reason=reason, feature_row=state)


def _able(
    start: Strategy, capability: Literal["history", "user_features"], knowledge: RecommenderState
) -> AnyAlgorithm | None:
    """The algorithm asked for; when it cannot and was not asked for by name, the first other that is about people."""
    if start.algorithm.can(capability):
        return start.algorithm
    if start.query.model is not None:
        return None
    return next((each for each in knowledge.able(capability) if not isinstance(each, Popularity)), None)
