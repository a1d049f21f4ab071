"""A tiny data set with a known solution: even users like even items, odd users odd items; each user lacks one item."""

from __future__ import annotations

import numpy as np

from models.recommender.dataset.dataset import Dataset, from_triplets
from models.recommender.registry import ALGORITHMS, AnyAlgorithm

USERS, ITEMS = 20, 16
# Small models for a small data set; the defaults are for real data.
PARAMS: dict[str, dict[str, object]] = {
    "lightfm-warp": {"factors": 8, "epochs": 100, "learning_rate": 0.05, "max_sampled": 10},
    "lightfm-bpr": {"factors": 8, "epochs": 60, "learning_rate": 0.1},
    "ease": {"l2": 1.0},
    "ease-session": {"l2": 1.0},
    "item-knn": {"k": 10},
    "user-knn": {"k": 5},
    "als": {"factors": 4, "alpha": 10.0, "l2": 1.0},
    "bpr": {"factors": 8, "epochs": 300, "learning_rate": 0.1},
    "lmf": {"factors": 4, "epochs": 100, "l2": 0.1, "learning_rate": 0.3, "popularity": 0.0},
    "fastrp": {"factors": 64},
    "fastrp-item": {"factors": 64},
    # Without bpr and lmf, whose defaults do not suit a small data set.
    "two-level": {"retrievers": ("ease", "lightfm-warp", "fastrp", "user-knn")},
}


def make(name: str, **params: object) -> AnyAlgorithm:
    return ALGORITHMS.create(name, {**PARAMS.get(name, {}), **params})


def missed(user: int) -> int:
    """Return the only item of the user's colour that the user has not seen."""
    return (2 * (user // 2) + user % 2) % ITEMS


def checkerboard(**extra: object) -> Dataset:
    pairs = [(u, i) for u in range(USERS) for i in range(ITEMS) if u % 2 == i % 2 and i != missed(u)]
    users, items = np.array(pairs, np.int64).T
    return from_triplets(users, items, shape=(USERS, ITEMS), **extra)  # type: ignore[arg-type]


def dataset(pairs: list[tuple[int, int]], shape: tuple[int, int], **extra: object) -> Dataset:
    users, items = np.array(pairs, np.int64).reshape(-1, 2).T
    return from_triplets(users, items, shape=shape, **extra)  # type: ignore[arg-type]
