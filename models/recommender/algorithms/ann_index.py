"""An approximate nearest-neighbour index of the items of a factor model: memory-mapped inverted lists of faiss.

Items are clustered into lists; a query searches only the lists nearest to its vector. The number of lists is chosen by
measuring recall. Scores and their order are exact, but items in other lists are missed. Only this module imports faiss,
and only for a model with an index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.recommender.algorithms.top_k import PADDING, Items, Scores
from models.recommender.algorithms.top_k_products import product_top_k

Matrix = NDArray[np.float32]

# For fewer items exact search is as fast; see docs/recommender-scale.md.
MIN_INDEXED_ITEMS = 200_000
TARGET_RECALL = 0.99
RECALL_AT = 10
# With a larger share of lists, exact search is faster, because it reads memory sequentially.
_MAX_SHARE_OF_LISTS = 1 / 8
_POINTS_PER_LIST = 64


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """The number of lists to search, and the measured recall of the ten best items."""

    probes: int
    recall: float


class ApproximateIndex:
    """An index that finds items by their product with a vector. Thread-safe."""

    def __init__(self, index: Any, settings: SearchSettings) -> None:  # Any: faiss has no types
        self._index = index
        self.settings = settings

    @classmethod
    def build(cls, items: Matrix, biases: Matrix, users: Matrix, *, recall: float = TARGET_RECALL) -> Self | None:
        """Build an index of `items` (M, d) with the fewest lists that reach `recall` for `users` (N, d).

        Recall is that of the ten best items. Return None when it needs too many lists. Raise ImportError without faiss.
        """
        import faiss

        vectors = _augmented(items, biases)
        lists = max(1, round(4 * math.sqrt(len(vectors))))
        # Any: the index has more attributes than the types of faiss declare.
        index: Any = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1
        index.train(vectors[:: max(1, len(vectors) // (lists * _POINTS_PER_LIST))])
        index.add(vectors)
        exact, _ = product_top_k(users, items, biases, RECALL_AT)
        probes = 1
        while probes <= max(1, lists * _MAX_SHARE_OF_LISTS):
            candidate = cls(index, SearchSettings(probes, 0.0))
            measured = _recall(candidate.find(users, RECALL_AT)[0], exact)
            if measured >= recall:
                return cls(index, SearchSettings(probes, measured))
            probes *= 2
        return None

    @classmethod
    def open(cls, path: Path, settings: SearchSettings) -> Self:
        """Open a file of `save`, memory-mapped. Raise ImportError without faiss, ValueError for another file."""
        import faiss

        try:
            index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
        except RuntimeError as error:
            raise ValueError(f"{path.name} is not an index") from error
        return cls(index, settings)

    def save(self, path: Path) -> None:
        import faiss

        faiss.write_index(self._index, str(path))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def find(self, vectors: Matrix, n: int) -> tuple[Items, Scores]:
        """Find approximately the best n items of each vector (N, d), best first; padded with PADDING and -inf."""
        import faiss

        queries = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
        options = faiss.SearchParametersIVF()
        options.nprobe = self.settings.probes
        scores, items = self._index.search(np.ascontiguousarray(queries, np.float32), n, params=options)
        scores[items == PADDING] = -np.inf
        return np.asarray(items, np.int64), np.asarray(scores, np.float32)


def _augmented(items: Matrix, biases: Matrix) -> Matrix:
    """Append the bias as one more coordinate; query vectors have 1 there."""
    return np.ascontiguousarray(np.concatenate([items, biases[:, None]], axis=1), np.float32)


def _recall(approximate: Items, exact: Items) -> float:
    shares = [
        len(set(a) & set(b)) / max(1, len(set(b) - {PADDING}))
        for a, b in zip(approximate.tolist(), (row[row != PADDING].tolist() for row in exact), strict=True)
    ]
    return float(np.mean(shares)) if shares else 0.0
