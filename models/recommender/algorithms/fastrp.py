"""FastRP: vectors of users and items by random projection of the interaction graph, without training.

Chen et al., "Fast and Accurate Network Embeddings via Very Sparse Random Projection", CIKM 2019. A random vector per
item is averaged repeatedly over the graph, from items to their users and back. The sum over the steps places nodes
close to each other that walks of these lengths connect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress
from models.recommender.algorithms.factors import Factors
from models.recommender.algorithms.linear import similar_columns, top_contributions
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.dataset.dataset import Dataset, Rows, binary

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FastRPParams:
    """`weights`: weights of walks of 1, 2, 3, ... rounds from items to users and back.

    `degree`: exponent of the popularity that scales an item's random vector; a negative one reduces the weight of
    popular items. `popularity`: exponent of the popularity that scales the cosine.
    """

    factors: int = 512
    weights: tuple[float, ...] = (1.0, 0.2)
    degree: float = -0.3
    popularity: float = 0.2
    seed: int = 0


class FastRP(Factors[FastRPParams]):
    """FastRP scores: the cosine of user and item vectors times a power of the item's popularity."""

    name = "fastrp"
    params_type = FastRPParams

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        users, items = walk_vectors(dataset, self.params, progress)
        self.user_factors_ = unit_rows(users)
        self.item_factors_ = (unit_rows(items) * attraction(dataset, self.params.popularity)).astype(np.float32)
        self.item_biases_ = np.zeros(dataset.items, np.float32)


class FastRPItem(Algorithm[FastRPParams]):
    """FastRP with item vectors only; a user is the sum of the item vectors in the history."""

    name = "fastrp-item"
    params_type = FastRPParams
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "explanations"}
    )

    item_factors_: Matrix
    attraction_: Matrix

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        _, items = walk_vectors(dataset, self.params, progress)
        self.item_factors_ = unit_rows(items)
        self.attraction_ = attraction(dataset, self.params.popularity).ravel()

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        profiles = unit_rows(np.asarray(binary(histories) @ self.item_factors_, np.float32))
        return np.asarray((profiles @ self.item_factors_.T) * self.attraction_, np.float32)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        return similar_columns(self.item_factors_[item_rows] @ self.item_factors_.T, item_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        vectors = self.item_factors_
        return top_contributions(lambda row, column: (vectors[row] * vectors[column]).sum(axis=1), histories, items, n)

    def arrays(self) -> Arrays:
        return {"item_factors": self.item_factors_, "attraction": self.attraction_}

    def _restore(self, arrays: Arrays) -> None:
        self.item_factors_ = arrays["item_factors"].astype(np.float32, copy=False)
        self.attraction_ = arrays["attraction"].astype(np.float32, copy=False)


def walk_vectors(dataset: Dataset, params: FastRPParams, progress: Progress) -> tuple[Matrix, Matrix]:
    """Compute vectors of users and items, (users, d) and (items, d)."""
    matrix = binary(dataset.interactions)
    to_users, to_items = _averages(matrix), _averages(sparse.csr_array(matrix.T))
    random = np.random.default_rng(params.seed)
    # +-sqrt(3) with probability 1/6 each: as accurate as Gaussian values, and sparse (Achlioptas, 2003).
    signs = random.choice([-1.0, 0.0, 1.0], size=(dataset.items, params.factors), p=[1 / 6, 2 / 3, 1 / 6])
    current = (np.sqrt(3.0) * signs * attraction(dataset, params.degree)).astype(np.float32)
    users, items = np.zeros((dataset.users, params.factors), np.float32), np.zeros_like(current)
    for step, weight in enumerate(params.weights):
        reached = unit_rows(np.asarray(to_users @ current, np.float32))
        current = unit_rows(np.asarray(to_items @ reached, np.float32))
        users += np.float32(weight) * reached
        items += np.float32(weight) * current
        progress(step + 1, len(params.weights))
    return users, items


def attraction(dataset: Dataset, exponent: float) -> Matrix:
    """Return the popularity relative to the mean, to the power of `exponent`, (items, 1)."""
    counts = np.maximum(dataset.popularity(), 1)
    return np.asarray((counts / counts.mean()) ** exponent, np.float32)[:, None]


def unit_rows(vectors: Matrix) -> Matrix:
    """Normalise rows to length 1; rows of zeros stay unchanged."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)


def _averages(matrix: sparse.csr_array) -> sparse.csr_array:
    degrees = np.maximum(np.diff(matrix.indptr), 1)
    return sparse.csr_array(sparse.diags_array((1.0 / degrees).astype(np.float32)) @ matrix)
