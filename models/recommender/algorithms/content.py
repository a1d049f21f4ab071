"""Recommendations from the attributes of items alone: they need no other users, and know new items from the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress
from models.recommender.algorithms.linear import contributions, similar_columns
from models.recommender.algorithms.neighbours import ItemNeighbours, NeighbourParams, nearest, normalised
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.dataset.dataset import Dataset, Rows, binary, csr


@dataclass(frozen=True, slots=True)
class ContentParams:
    """`popularity`: how much the item's share of all users adds to the cosine; attributes alone know no quality."""

    popularity: float = 0.0


class Content(Algorithm[ContentParams]):
    """Scores are the cosine of an item's attributes to the sum of those of the user's items, rare ones counting more.

    Where items have no attributes, all scores are equal.
    """

    name = "content"
    params_type = ContentParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "explanations"}
    )

    directions_: sparse.csr_array
    """Attributes of each item, weighted, of length 1, (items, features)."""
    prior_: NDArray[np.float32]

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        self.directions_ = item_directions(dataset)
        shares = dataset.popularity() / max(1, dataset.users)
        self.prior_ = (self.params.popularity * shares).astype(np.float32)
        progress(1, 1)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        profiles = normalised(sparse.csr_array(binary(histories) @ self.directions_))
        return np.asarray((profiles @ self.directions_.T).toarray() + self.prior_, np.float32)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        likeness = (self.directions_[item_rows] @ self.directions_.T).toarray()
        return similar_columns(likeness, item_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        def likeness(rows: Rows, columns: Rows) -> NDArray[np.float32]:
            return np.asarray((self.directions_[rows].multiply(self.directions_[columns])).sum(axis=1), np.float32)

        return contributions(likeness, histories, items, n)

    def arrays(self) -> Arrays:
        matrix = self.directions_
        return {
            "data": matrix.data,
            "indices": matrix.indices,
            "indptr": matrix.indptr,
            "width": np.array([matrix.shape[1]]),
            "prior": self.prior_,
        }

    def _restore(self, arrays: Arrays) -> None:
        shape = (self.dataset_.items, int(arrays["width"].item()))
        self.directions_ = csr(arrays["data"], arrays["indices"], arrays["indptr"], shape)
        self.prior_ = arrays["prior"].astype(np.float32, copy=False)


class ContentNeighbours(ItemNeighbours):
    """Like items by attributes instead of by users: each item of the history speaks for those most like it."""

    name = "content-knn"

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        directions = item_directions(dataset)
        self.likeness_ = nearest(directions, directions, NeighbourParams(k=self.params.k), progress)


def item_directions(dataset: Dataset) -> sparse.csr_array:
    """Attributes of each item weighted by how rare they are, of length 1, (items, features)."""
    features = dataset.item_features
    if features is None:
        return sparse.csr_array((dataset.items, 0), dtype=np.float32)
    return weighted(features, rarity(features))


def rarity(features: sparse.csr_array) -> NDArray[np.float32]:
    """How much each feature counts, the more the fewer items have it, (features,)."""
    counts = np.bincount(features.indices, minlength=features.shape[1])
    return np.asarray(np.log1p(features.shape[0] / np.maximum(counts, 1)), np.float32)


def weighted(features: sparse.csr_array, weights: NDArray[np.float32]) -> sparse.csr_array:
    """Rows of features times their weights, of length 1, (rows, features)."""
    values = features.data * weights[features.indices]
    return normalised(csr(values, features.indices, features.indptr, features.shape))
