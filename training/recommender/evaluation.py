"""Evaluation of a recommender on held-out interactions: the metrics of a table row, and slices by user and item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Progress, no_progress
from models.recommender.algorithms.content import item_directions
from models.recommender.dataset.dataset import Dataset
from models.recommender.registry import AnyAlgorithm
from training.recommender import ranking_metrics
from training.recommender.ranking_metrics import K

NEW_USER_AT_MOST = 20
HEAVY_USER_FROM = 100
HEAD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics of one algorithm over all users, and by slice of users or items."""

    metrics: Mapping[str, float]
    slices: Mapping[str, Mapping[str, float]]


def evaluate(algorithm: AnyAlgorithm, train: Dataset, test: Dataset) -> Evaluation:
    """Evaluate K recommendations of a fitted algorithm for each user with interactions in `test`."""
    users = np.flatnonzero(test.activity() > 0)
    recommended, _ = algorithm.recommend(users, K, filter_seen=True)
    return evaluate_recommendations(recommended, users, train, test)


def evaluate_recommendations(
    recommended: NDArray[np.int64], users: NDArray[np.int64], train: Dataset, test: Dataset
) -> Evaluation:
    """Evaluate items (N, K) that were recommended to N users. -1 marks an empty place."""
    relevant = test.interactions[users]
    overall = ranking_metrics.means(ranking_metrics.per_user(recommended, relevant))
    overall["coverage"] = ranking_metrics.coverage(recommended, train.items)
    overall["novelty"] = ranking_metrics.novelty(recommended, train.popularity(), train.users)
    if train.item_features is not None:
        overall["diversity"] = ranking_metrics.diversity(recommended, item_directions(train))
    return Evaluation(overall, _slices(recommended, relevant, train, users))


def fit_and_evaluate(
    algorithm: AnyAlgorithm, train: Dataset, test: Dataset, *, progress: Progress = no_progress
) -> Evaluation:
    """Fit on `train`, then evaluate on `test`."""
    return evaluate(algorithm.fit(train, progress=progress), train, test)


def head_items(popularity: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask of the fewest items, most popular first, that make up half of all interactions."""
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    is_head = np.zeros(len(popularity), bool)
    is_head[order[before < HEAD_SHARE * popularity.sum()]] = True
    return is_head


def _slices(
    recommended: NDArray[np.int64], relevant: sparse.csr_array, train: Dataset, users: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    activity = train.activity()[users]
    values = ranking_metrics.per_user(recommended, relevant)
    user_groups = {
        "users=new": activity <= NEW_USER_AT_MOST,
        "users=light": (activity > NEW_USER_AT_MOST) & (activity < HEAVY_USER_FROM),
        "users=heavy": activity >= HEAVY_USER_FROM,
    }
    slices = {name: ranking_metrics.means(values, is_inside) for name, is_inside in user_groups.items()}
    is_head = head_items(train.popularity())
    for name, is_inside in (("items=head", is_head), ("items=tail", ~is_head)):
        relevant_inside = sparse.csr_array(relevant.multiply(is_inside[None, :].astype(np.float32)))
        relevant_inside.eliminate_zeros()
        slices[name] = ranking_metrics.means(ranking_metrics.per_user(recommended, relevant_inside))
    return {name: metrics for name, metrics in slices.items() if metrics}
