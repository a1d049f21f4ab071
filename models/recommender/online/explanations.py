"""Explanations of recommended items: items of the user, features, the segment, or popularity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import PADDING
from models.recommender.dataset.dataset import csr
from models.recommender.online.messages import Cause
from models.recommender.online.state import RecommenderState
from models.recommender.online.strategy import Strategy

MAX_CAUSES = 3


def causes(strategy: Strategy, items: NDArray[np.int64], state: RecommenderState) -> list[tuple[Cause, ...]]:
    """Return up to MAX_CAUSES causes of each of `items` (K,), the strongest first."""
    if not len(items):
        return []
    if strategy.source in ("row", "history"):
        return _item_causes(strategy, items, state)
    if strategy.source == "features" and strategy.features is not None:
        return _feature_causes(strategy, strategy.features, items, state)
    if strategy.segment is not None:
        names = state.contents.user_encoder.names
        name = ", ".join(names[column] for column in strategy.segment.columns)
        return [(Cause("segment", name, float(strategy.segment.scores[item])),) for item in items]
    shares = state.live_counts.read().shares
    return [(Cause("popularity", "share of all users", float(shares[item])),) for item in items]


def _item_causes(strategy: Strategy, items: NDArray[np.int64], state: RecommenderState) -> list[tuple[Cause, ...]]:
    history = strategy.history
    if history is None:
        history = state.contents.dataset.histories(np.array([strategy.row], np.int64))
    causes, amounts = strategy.algorithm.explain(history, items[None, :], MAX_CAUSES)
    ids, titles = state.contents.items, state.contents.titles
    return [
        tuple(
            Cause("item", ids[cause], float(amount), titles[cause])
            for cause, amount in zip(rows.tolist(), weights.tolist(), strict=True)
            if cause != PADDING
        )
        for rows, weights in zip(causes[0], amounts[0], strict=True)
    ]


def _feature_causes(
    strategy: Strategy, features: sparse.csr_array, items: NDArray[np.int64], state: RecommenderState
) -> list[tuple[Cause, ...]]:
    """Rank features by the lift of the item's score over its mean when only that feature is given."""
    columns = features.indices.astype(np.int64)
    count = len(columns)
    single_features = csr(np.ones(count, np.float32), columns, np.arange(count + 1), (count, features.shape[1]))
    scores = strategy.algorithm.score_features(single_features)
    names = state.contents.user_encoder.names
    # Subtract the mean over all items: a feature that lifts all items explains none.
    lifts = scores[:, items] - scores.mean(axis=1, keepdims=True)
    return [
        tuple(
            Cause("feature", names[columns[feature]], float(lifts[feature, item]))
            for feature in np.argsort(-lifts[:, item], kind="stable")[:MAX_CAUSES]
            if lifts[feature, item] > 0
        )
        for item in range(len(items))
    ]
