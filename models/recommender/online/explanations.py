"""What spoke for a recommended item: items of the user, features, the segment, or everybody. Knows rows and plans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.top_k import NOTHING
from models.recommender.dataset.dataset import csr
from models.recommender.online.messages import Cause
from models.recommender.online.state import RecommenderState
from models.recommender.online.strategy import Strategy

CAUSES = 3


def causes(plan: Strategy, items: NDArray[np.int64], knowledge: RecommenderState) -> list[tuple[Cause, ...]]:
    """Up to CAUSES causes of each of `items` (K,), the strongest first."""
    if not len(items):
        return []
    if plan.source in ("row", "history"):
        return _items(plan, items, knowledge)
    if plan.source == "features" and plan.features is not None:
        return _features(plan, plan.features, items, knowledge)
    if plan.segment is not None:
        names = knowledge.contents.user_encoder.names
        name = ", ".join(names[column] for column in plan.segment.columns)
        return [(Cause("segment", name, float(plan.segment.scores[item])),) for item in items]
    shares = knowledge.tally.read().shares
    return [(Cause("popularity", "share of all users", float(shares[item])),) for item in items]


def _items(plan: Strategy, items: NDArray[np.int64], knowledge: RecommenderState) -> list[tuple[Cause, ...]]:
    history = plan.history
    if history is None:
        history = knowledge.contents.dataset.histories(np.array([plan.row], np.int64))
    found, amounts = plan.algorithm.explain(history, items[None, :], CAUSES)
    ids, titles = knowledge.contents.items, knowledge.contents.titles
    return [
        tuple(
            Cause("item", ids[cause], float(amount), titles[cause])
            for cause, amount in zip(rows.tolist(), weights.tolist(), strict=True)
            if cause != NOTHING
        )
        for rows, weights in zip(found[0], amounts[0], strict=True)
    ]


def _features(
    plan: Strategy, features: sparse.csr_array, items: NDArray[np.int64], knowledge: RecommenderState
) -> list[tuple[Cause, ...]]:
    """Each feature by how far above its usual score the item is when only that feature is known."""
    columns = features.indices.astype(np.int64)
    count = len(columns)
    alone = csr(np.ones(count, np.float32), columns, np.arange(count + 1), (count, features.shape[1]))
    scores = plan.algorithm.score_features(alone)
    names = knowledge.contents.user_encoder.names
    # Over all items: a feature that lifts everything speaks for nothing in particular.
    lifts = scores[:, items] - scores.mean(axis=1, keepdims=True)
    return [
        tuple(
            Cause("feature", names[columns[place]], float(lifts[place, item]))
            for place in np.argsort(-lifts[:, item], kind="stable")[:CAUSES]
            if lifts[place, item] > 0
        )
        for item in range(len(items))
    ]
