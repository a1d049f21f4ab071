"""What every recommendation algorithm has in common: learn from a data set, score items for users, save as arrays.

Knows rows and columns; ids, titles and requests are the predictor's.
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
from models.recommender.algorithms.top_k import Items, Scores, best
from models.recommender.dataset.dataset import Dataset, Rows, stored_rows

Capability = Literal[
    "known_users",  # users of the training data
    "history",  # anyone who comes with a list of items
    "user_features",  # anyone who comes with attributes
    "anyone",  # nothing needs to be known
    "similar_items",
    "similar_users",
    "explanations",
]
Arrays = Mapping[str, NDArray[np.generic]]
Progress = Callable[[int, int], None]
P = TypeVar("P")

_BLOCK_BYTES = 64 << 20


def no_progress(done: int, total: int) -> None:
    """Tells nobody how far `fit` is."""


class Algorithm(ABC, Generic[P]):
    """One way to recommend. `fit` learns; everything after it only reads, and is safe from several threads at once.

    Subclasses give a `name`, the frozen dataclass of their hyperparameters, and their `capabilities`.
    """

    name: ClassVar[str]
    params_type: ClassVar[type[Any]]  # Any: each algorithm's own dataclass
    capabilities: ClassVar[frozenset[Capability]]

    reads_attributes: ClassVar[bool] = False
    """Whether attributes of known users and items (age, genres) are looked up when it scores, not learned alone."""

    dataset_: Dataset

    def __init__(self, params: P | None = None) -> None:
        self.params: P = self.params_type() if params is None else params

    def fit(self, dataset: Dataset, *, progress: Progress = no_progress) -> Self:
        """Learn from `dataset`. `progress` is told steps done and steps in all."""
        self.dataset_ = dataset
        self._fit(dataset, progress)
        return self

    def recommend(self, user_rows: Rows, n: int, *, filter_seen: bool = True) -> tuple[Items, Scores]:
        """The best n items for each known user: columns and scores, (N, min(n, items)), best first.

        Rows with fewer items than that are filled up with -1 and -inf.
        """
        width = min(n, self.dataset_.items)
        items, scores = np.empty((len(user_rows), width), np.int64), np.empty((len(user_rows), width), np.float32)
        for rows in blocks(len(user_rows), self.dataset_.items):
            scored = self.score_unseen(user_rows[rows]) if filter_seen else self.score(user_rows[rows])
            if filter_seen:
                hide(scored, self.dataset_.histories(user_rows[rows]))
            items[rows], scores[rows] = best(scored, n)
        return items, scores

    def score(self, user_rows: Rows) -> Scores:
        """Scores of all items for known users, (N, items), writable. Higher is better; -inf is "never"."""
        return self.score_histories(self.dataset_.histories(user_rows))

    def score_unseen(self, user_rows: Rows) -> Scores:
        """The same scores where those of items that the users have seen are of no use, and may be anything."""
        return self.score(user_rows)

    def score_histories(self, histories: sparse.csr_array) -> Scores:
        """Scores for users known by their interactions alone, (N, items), writable."""
        raise self.cannot("history")

    def score_features(self, user_features: sparse.csr_array) -> Scores:
        """Scores for users known by their features alone, (N, items), writable."""
        raise self.cannot("user_features")

    def similar_items(self, item_rows: Rows, n: int) -> tuple[Items, Scores]:
        """The n items most like each of these, without itself, best first."""
        raise self.cannot("similar_items")

    def similar_users(self, user_rows: Rows, n: int) -> tuple[Items, Scores]:
        """The n users most like each of these, without themselves, best first."""
        raise self.cannot("similar_users")

    def explain(self, histories: sparse.csr_array, items: Items, n: int) -> tuple[Items, Scores]:
        """Which n items of each history spoke most for each recommended item.

        `items` is (N, K); both results are (N, K, n), filled up with -1 and 0.
        """
        raise self.cannot("explanations")

    def refresh(self, user_features: sparse.csr_array | None, item_features: sparse.csr_array | None) -> None:
        """Look attributes up in these matrices from now on; most algorithms look nothing up."""
        return

    @abstractmethod
    def arrays(self) -> Arrays:
        """All that was learned, by name; `restore` makes an equal algorithm of it."""

    def texts(self) -> Mapping[str, str]:
        """What was learned in a text format of its own, by name; most algorithms have none."""
        return {}

    def restore(self, arrays: Arrays, dataset: Dataset, texts: Mapping[str, str] = MappingProxyType({})) -> Self:
        """Become what `arrays` and `texts` came from. The arrays may be read-only and memory-mapped."""
        self.dataset_ = dataset
        self._restore(arrays)
        self._restore_texts(texts)
        return self

    def can(self, capability: Capability) -> bool:
        return capability in self.capabilities

    def cannot(self, capability: Capability) -> InvalidInput:
        """The error for being asked for something that this algorithm does not do."""
        return InvalidInput(f"model '{self.name}' cannot do {capability.replace('_', ' ')}")

    @abstractmethod
    def _fit(self, dataset: Dataset, progress: Progress) -> None: ...

    @abstractmethod
    def _restore(self, arrays: Arrays) -> None: ...

    def _restore_texts(self, texts: Mapping[str, str]) -> None:
        pass


def blocks(rows: int, columns: int) -> list[slice]:
    """Slices that cut `rows` so that a float32 matrix of one slice by `columns` stays within 64 MiB."""
    size = max(1, _BLOCK_BYTES // (4 * max(1, columns)))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def hide(scores: Scores, seen: sparse.csr_array) -> None:
    """Set the scores of seen items to -inf, in place."""
    scores[stored_rows(seen), seen.indices] = -np.inf
