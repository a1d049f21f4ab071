"""From plans to scores: of all items, or of the best ones alone where an algorithm is a product of vectors.

Knows plans and algorithms, never ids or titles.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.recommender.algorithms.factors import Factors, Matrix
from models.recommender.algorithms.popularity import Popularity
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.algorithms.top_k_products import Hidden
from models.recommender.online.messages import NO_RULES
from models.recommender.online.reranking import Ranked
from models.recommender.online.state import RecommenderState
from models.recommender.online.strategy import Strategy

_PERSONAL = ("row", "history", "features")


def hidden_from(plan: Strategy) -> Items:
    """Items that the plan's user is not to be shown."""
    if not plan.query.filter_seen:
        return plan.hidden
    return np.concatenate((plan.seen, plan.hidden)) if len(plan.hidden) else plan.seen


def is_product(plan: Strategy) -> bool:
    """Whether the plan's best items can be found without the scores of all: rules look at all of them."""
    return isinstance(plan.algorithm, Factors) and plan.source in _PERSONAL and plan.query.rules is NO_RULES


def best_by_product(plans: list[Strategy]) -> list[Ranked]:
    """Items and scores of each plan, best first. All are of one algorithm and one source, and `is_product`."""
    algorithm = plans[0].algorithm
    if not isinstance(algorithm, Factors):
        raise TypeError(f"'{algorithm.name}' is no product of vectors")
    hidden = Hidden([hidden_from(each) for each in plans])
    items, scores = algorithm.nearest(_vectors(algorithm, plans), max(each.query.n for each in plans), hidden=hidden)
    return [(items[i][: each.query.n], scores[i][: each.query.n]) for i, each in enumerate(plans)]


def scores_of(plans: list[Strategy], knowledge: RecommenderState) -> Scores:
    """Scores of all items, (N, items), writable. All plans are of one algorithm and one source."""
    algorithm, source = plans[0].algorithm, plans[0].source
    if source == "history":
        return algorithm.score_histories(_histories(plans))
    if source == "features":
        return algorithm.score_features(_features(plans))
    if source == "segment":
        return np.stack([each.segment.scores for each in plans if each.segment is not None])
    if isinstance(algorithm, Popularity):
        return np.tile(knowledge.tally.read().shares, (len(plans), 1))
    hides_seen = all(each.query.filter_seen for each in plans)
    return algorithm.score_unseen(_rows(plans)) if hides_seen else algorithm.score(_rows(plans))


def _vectors(algorithm: Factors, plans: list[Strategy]) -> Matrix:  # type: ignore[type-arg]  # whatever its parameters
    if plans[0].source == "history":
        return algorithm.fold_in(_histories(plans))
    if plans[0].source == "features":
        return algorithm.feature_vectors(_features(plans))
    return algorithm.user_factors_[_rows(plans)]


def _rows(plans: list[Strategy]) -> Items:
    return np.array([each.row for each in plans], np.int64)


def _histories(plans: list[Strategy]) -> sparse.csr_array:
    return sparse.vstack([each.history for each in plans], format="csr")


def _features(plans: list[Strategy]) -> sparse.csr_array:
    return sparse.vstack([each.features for each in plans], format="csr")
