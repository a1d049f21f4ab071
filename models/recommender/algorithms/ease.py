"""EASE: a linear item-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders", WWW 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.algorithms.base import Algorithm, Arrays, Capability, Progress
from models.recommender.algorithms.linear import similar_columns, top_contributions
from models.recommender.algorithms.top_k import Items, Scores
from models.recommender.dataset.dataset import Dataset, Rows, binary

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class EaseParams:
    """`l2`: ridge penalty. `max_items`: limit of the catalogue, because the dense matrix takes 4 bytes x items^2."""

    l2: float = 300.0
    max_items: int = 20_000


class ItemWeights(Algorithm[P]):
    """A linear model: the history of the user times an item-item matrix with a zero diagonal, (items, items)."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {"known_users", "history", "similar_items", "explanations"}
    )

    weights_: NDArray[np.float32]

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        return np.asarray(binary(histories) @ self.weights_, np.float32)

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        return similar_columns(self.weights_[item_rows], item_rows, n)

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        return top_contributions(lambda row, column: self.weights_[row, column], histories, items, n)

    def arrays(self) -> Arrays:
        return {"weights": self.weights_}

    def _restore(self, arrays: Arrays) -> None:
        self.weights_ = arrays["weights"].astype(np.float32, copy=False)


class Ease(ItemWeights[EaseParams]):
    """The item-item matrix that best reproduces all histories with a zero diagonal."""

    name = "ease"
    params_type = EaseParams

    def _fit(self, dataset: Dataset, progress: Progress) -> None:
        check_size(self.name, dataset, self.params.max_items)
        matrix = binary(dataset.interactions)
        gram = (matrix.T @ matrix).toarray().astype(np.float64)
        gram[np.diag_indices_from(gram)] += self.params.l2
        self.weights_ = solve_weights(gram)
        progress(1, 1)


def check_size(name: str, dataset: Dataset, max_items: int) -> None:
    """Raise InvalidInput when a dense item-item matrix would be too large."""
    if dataset.items > max_items:
        raise InvalidInput(
            f"{name} needs a dense item-item matrix: {dataset.items:,} items exceed the limit of {max_items:,}; "
            "omit the algorithm or increase max_items"
        )


def solve_weights(gram: NDArray[np.float64]) -> NDArray[np.float32]:
    """Solve for the weights (items, items) with a zero diagonal, given a Gram matrix with ridge. Overwrite `gram`."""
    # Training only: the image has no scipy.linalg.
    from scipy import linalg

    inverse = linalg.inv(gram, overwrite_a=True, assume_a="pos")
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights, np.float32)
