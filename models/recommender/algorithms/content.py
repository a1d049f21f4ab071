"""Content-based recommendation from the attributes of items, which covers new items and needs no other users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress
from models.recommender.algorithms.linear import similar_columns, top_contributions
from models.recommender.algorithms.neighbours import ItemNeighbours, NeighbourParams, nearest_rows, normalise_rows
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.dataset.dataset import Dataset, Rows, binary, csr


@dataclass(frozen=True, slots=True)
class ContentParams:
    """`popularity`: weight of the item's share of users that is added to the cosine."""

    popularity: float = 0.0


class Content(Algorithm[ContentParams]):
    """Content-based scores: cosine of an item's attributes and the sum of those of the user's items.

    Rare attributes have higher weights. Without attributes all scores are equal.
    """

    name = "content"
    params_type = ContentParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "explanations"}
    )

    directions_: sparse.csr_array
    """Weighted attributes of each item, normalised to length 1, (items, features)."""
    prior_: NDArray[np.float32]

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        self.directions_ = item_directions(dataset)
        shares = dataset.popularity() / max(1, dataset.users)
        self.prior_ = (self.params.popularity * shares).astype(np.float32)
        progress(1, 1)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        profiles = normalise_rows(sparse.csr_array(binary(histories) @ self.directions_))
        return np.asarray((profiles @ self.directions_.T).toarray() + self.prior_, np.float32)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        similarities = (self.directions_[item_rows] @ self.directions_.T).toarray()
        return similar_columns(similarities, item_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        def similarities(rows: Rows, columns: Rows) -> NDArray[np.float32]:
            return np.asarray((self.directions_[rows].multiply(self.directions_[columns])).sum(axis=1), np.float32)

        return top_contributions(similarities, histories, items, n)

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
    """Item neighbours by attributes: each item of the history contributes to the items most similar to it."""

    name = "content-knn"

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        directions = item_directions(dataset)
        self.similarities_ = nearest_rows(directions, directions, NeighbourParams(k=self.params.k), progress)


def item_directions(dataset: Dataset) -> sparse.csr_array:
    """Return the attributes of each item weighted by inverse frequency, normalised to length 1, (items, features)."""
    features = dataset.item_features
    if features is None:
        return sparse.csr_array((dataset.items, 0), dtype=np.float32)
    return weigh_features(features, inverse_frequency(features))


def inverse_frequency(features: sparse.csr_array) -> NDArray[np.float32]:
    """Return the weight of each feature, higher for rarer features, (features,)."""
    counts = np.bincount(features.indices, minlength=features.shape[1])
    return np.asarray(np.log1p(features.shape[0] / np.maximum(counts, 1)), np.float32)


def weigh_features(features: sparse.csr_array, weights: NDArray[np.float32]) -> sparse.csr_array:
    """Multiply features by weights and normalise rows to length 1, (rows, features)."""
    values = features.data * weights[features.indices]
    return normalise_rows(csr(values, features.indices, features.indptr, features.shape))
