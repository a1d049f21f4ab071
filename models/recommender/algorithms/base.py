"""The interface of recommendation algorithms: fit a data set, score items for users, save as arrays.

Users and items are rows and columns; the predictor maps them to ids and titles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from models.errors import InvalidInput
from models.recommender.algorithms.top_k import Items, Scores, select_top_k
from models.recommender.dataset.dataset import Dataset, Rows, stored_rows

Capability = Literal[
    "known_users",  # users of the training data
    "history",  # users with a list of items
    "user_features",  # users with attributes
    "anyone",  # any user, without information
    "similar_items",
    "similar_users",
    "explanations",
]
Arrays = Mapping[str, NDArray[np.generic]]
Progress = Callable[[int, int], None]
P = TypeVar("P")

_BLOCK_BYTES = 64 << 20


def no_progress(done: int, total: int) -> None:
    """Ignore the progress of `fit`."""


class Algorithm(ABC, Generic[P]):
    """A recommendation algorithm. All methods after `fit` are read-only and thread-safe.

    Subclasses define a `name`, the frozen dataclass of their hyperparameters, and their `capabilities`.
    """

    name: ClassVar[str]
    params_type: ClassVar[type[Any]]  # Any: a dataclass per algorithm
    capabilities: ClassVar[frozenset[Capability]]

    reads_attributes: ClassVar[bool] = False
    """Whether scoring looks up attributes of known users and items (age, genres) instead of only learned parameters."""

    dataset_: Dataset

    def __init__(self, params: P | None = None) -> None:
        self.params: P = self.params_type() if params is None else params

    def fit(self, dataset: Dataset, *, progress: Progress = no_progress) -> Self:
        """Fit the data set. Call `progress` with the completed and the total number of steps."""
        self.dataset_ = dataset
        self._fit(dataset, progress)
        return self

    def recommend(self, user_rows: Rows, n: int, *, filter_seen: bool = True) -> tuple[Items, Scores]:
        """Return the best n items for each known user: columns and scores, (N, min(n, items)), best first.

        Rows with fewer items are padded with -1 and -inf.
        """
        width = min(n, self.dataset_.items)
        items, scores = np.empty((len(user_rows), width), np.int64), np.empty((len(user_rows), width), np.float32)
        for rows in row_blocks(len(user_rows), self.dataset_.items):
            user_scores = self.score_unseen(user_rows[rows]) if filter_seen else self.score(user_rows[rows])
            if filter_seen:
                mask_seen(user_scores, self.dataset_.histories(user_rows[rows]))
            items[rows], scores[rows] = select_top_k(user_scores, n)
        return items, scores

    def score(self, user_rows: Rows) -> Scores:
        """Score all items for known users, (N, items), writable. Higher is better; -inf excludes an item."""
        return self.score_histories(self.dataset_.histories(user_rows))

    def score_unseen(self, user_rows: Rows) -> Scores:
        """Score all items as `score` does; scores of items that the users have seen are undefined."""
        return self.score(user_rows)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        """Score all items for users given by their interactions, (N, items), writable."""
        raise self.unsupported("history")

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        """Score all items for users given by their features, (N, items), writable."""
        raise self.unsupported("user_features")

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        """Return the n items most similar to each item, without itself, best first."""
        raise self.unsupported("similar_items")

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        """Return the n users most similar to each user, without the user, best first."""
        raise self.unsupported("similar_users")

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        """Return the n items of each history that contributed most to each recommended item.

        `items` is (N, K); both results are (N, K, n), padded with -1 and 0.
        """
        raise self.unsupported("explanations")

    def refresh(self, user_features: sparse.csr_array | None, item_features: sparse.csr_array | None) -> None:
        """Replace the matrices that attributes are looked up in; most algorithms look up nothing."""
        return

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return the fitted parameters by name, the input of `restore`."""

    def texts(self) -> Mapping[str, str]:
        """Return fitted parameters in a text format, by name; empty for most algorithms."""
        return {}

    def restore(self, arrays: Arrays, dataset: Dataset, texts: Mapping[str, str] = MappingProxyType({})) -> Self:
        """Restore a fitted algorithm. The arrays may be read-only and memory-mapped."""
        self.dataset_ = dataset
        self._restore(arrays)
        self._restore_texts(texts)
        return self

    def supports(self, capability: Capability) -> bool:
        """Return whether the algorithm has a capability."""
        return capability in self.capabilities

    def unsupported(self, capability: Capability) -> InvalidInput:
        """Create the error for a capability that the algorithm lacks."""
        return InvalidInput(f"model '{self.name}' does not support {capability.replace('_', ' ')}")

    @abstractmethod
    def _fit(self, dataset: Dataset, progress: Progress) -> None: ...

    @abstractmethod
    def _restore(self, arrays: Arrays) -> None: ...

    def _restore_texts(self, texts: Mapping[str, str]) -> None:
        pass


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Split `rows` into slices such that a float32 matrix of one slice by `columns` has at most 64 MiB."""
    size = max(1, _BLOCK_BYTES // (4 * max(1, columns)))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def mask_seen(scores: Scores, seen: sparse.csr_array) -> None:
    """Set the scores of seen items to -inf in place."""
    scores[stored_rows(seen), seen.indices] = -np.inf
