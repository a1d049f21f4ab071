"""Several algorithms fitted on one part of the data and measured on another: the rows of the table, and the slices.

Knows algorithms by their interface alone.
"""

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
class Measured:
    """One fitted algorithm: what it recommended to whom, and how good that was."""

    metrics: Mapping[str, float]
    slices: Mapping[str, Mapping[str, float]]


def measure(algorithm: AnyAlgorithm, train: Dataset, test: Dataset) -> Measured:
    """Ask a fitted algorithm for K unseen items per user with a test part, and compare."""
    users = np.flatnonzero(test.activity() > 0)
    recommended, _ = algorithm.recommend(users, K, filter_seen=True)
    return judge(recommended, users, train, test)


def judge(recommended: NDArray[np.int64], users: NDArray[np.int64], train: Dataset, test: Dataset) -> Measured:
    """How good items (N, K), -1 for none, are for these users, whoever recommended them."""
    relevant = test.interactions[users]
    overall = ranking_metrics.means(ranking_metrics.per_user(recommended, relevant))
    overall["coverage"] = ranking_metrics.coverage(recommended, train.items)
    overall["novelty"] = ranking_metrics.novelty(recommended, train.popularity(), train.users)
    if train.item_features is not None:
        overall["diversity"] = ranking_metrics.diversity(recommended, item_directions(train))
    return Measured(overall, _slices(recommended, relevant, train, users))


def fit_and_measure(
    algorithm: AnyAlgorithm, train: Dataset, test: Dataset, *, progress: Progress = no_progress
) -> Measured:
    """Fit on `train`, then `measure` on `test`."""
    return measure(algorithm.fit(train, progress=progress), train, test)


def _slices(
    recommended: NDArray[np.int64], relevant: sparse.csr_array, train: Dataset, users: NDArray[np.int64]
) -> dict[str, dict[str, float]]:
    activity = train.activity()[users]
    values = ranking_metrics.per_user(recommended, relevant)
    by_user = {
        "users=new": activity <= NEW_USER_AT_MOST,
        "users=light": (activity > NEW_USER_AT_MOST) & (activity < HEAVY_USER_FROM),
        "users=heavy": activity >= HEAVY_USER_FROM,
    }
    found = {name: ranking_metrics.means(values, chosen) for name, chosen in by_user.items()}
    is_head = head_items(train.popularity())
    for name, chosen in (("items=head", is_head), ("items=tail", ~is_head)):
        wanted = sparse.csr_array(relevant.multiply(chosen[None, :].astype(np.float32)))
        wanted.eliminate_zeros()
        found[name] = ranking_metrics.means(ranking_metrics.per_user(recommended, wanted))
    return {name: each for name, each in found.items() if each}


def head_items(popularity: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The fewest items, most popular first, that make up half of all interactions."""
    order = np.argsort(-popularity, kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    is_head = np.zeros(len(popularity), bool)
    is_head[order[before < HEAD_SHARE * popularity.sum()]] = True
    return is_head
