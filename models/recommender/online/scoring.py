"""Scores for strategies: of all items, or only of the best items for factor models."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from models.recommender.algorithms.factors import Factors, Matrix
from models.recommender.algorithms.popularity import Popularity
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.algorithms.top_k_products import ExcludedItems
from models.recommender.online.messages import NO_RULES
from models.recommender.online.reranking import Ranked
from models.recommender.online.state import RecommenderState
from models.recommender.online.strategy import Strategy

_VECTOR_SOURCES = ("row", "history", "features")


def excluded_items(strategy: Strategy) -> Items:
    """Return the items that must not be recommended."""
    if not strategy.query.filter_seen:
        return strategy.disliked
    return np.concatenate((strategy.seen, strategy.disliked)) if len(strategy.disliked) else strategy.seen


def uses_vectors(strategy: Strategy) -> bool:
    """Return whether the best items can be found without the scores of all items, which rules need."""
    return (
        isinstance(strategy.algorithm, Factors)
        and strategy.source in _VECTOR_SOURCES
        and strategy.query.rules is NO_RULES
    )


def best_by_vectors(strategies: list[Strategy]) -> list[Ranked]:
    """Return the best items and scores of each strategy. All have the same algorithm and source, and `uses_vectors`."""
    algorithm = strategies[0].algorithm
    if not isinstance(algorithm, Factors):
        raise TypeError(f"'{algorithm.name}' is not a factor model")
    excluded = ExcludedItems([excluded_items(each) for each in strategies])
    items, scores = algorithm.top_items(
        _vectors(algorithm, strategies), max(each.query.n for each in strategies), excluded=excluded
    )
    return [(items[i][: each.query.n], scores[i][: each.query.n]) for i, each in enumerate(strategies)]


def score_all(strategies: list[Strategy], state: RecommenderState) -> Scores:
    """Score all items, (N, items), writable. All strategies have the same algorithm and source."""
    algorithm, source = strategies[0].algorithm, strategies[0].source
    if source == "history":
        return algorithm.score_histories(_histories(strategies))
    if source == "features":
        return algorithm.score_features(_features(strategies))
    if source == "segment":
        return np.stack([each.segment.scores for each in strategies if each.segment is not None])
    if isinstance(algorithm, Popularity):
        return np.tile(state.live_counts.read().shares, (len(strategies), 1))
    hides_seen = all(each.query.filter_seen for each in strategies)
    return algorithm.score_unseen(_rows(strategies)) if hides_seen else algorithm.score(_rows(strategies))


def _vectors(algorithm: Factors, strategies: list[Strategy]) -> Matrix:  # type: ignore[type-arg]  # any hyperparameters
    if strategies[0].source == "history":
        return algorithm.fold_in(_histories(strategies))
    if strategies[0].source == "features":
        return algorithm.feature_vectors(_features(strategies))
    return algorithm.user_factors_[_rows(strategies)]


def _rows(strategies: list[Strategy]) -> Items:
    return np.array([each.row for each in strategies], np.int64)


def _histories(strategies: list[Strategy]) -> sparse.csr_array:
    return sparse.vstack([each.history for each in strategies], format="csr")


def _features(strategies: list[Strategy]) -> sparse.csr_array:
    return sparse.vstack([each.features for each in strategies], format="csr")
