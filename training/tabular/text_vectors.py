"""Free text as a few numbers: TF-IDF of hashed words, projected by a truncated singular value decomposition.

The result of `fit` is two tables by bucket, so that the graph needs no sparse matrices. Source: Deerwester et al. 1990,
"Indexing by latent semantic analysis".
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD

from models.tabular.tokens import BUCKETS

_COMPONENTS = 24


class TextVectors(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Turns the buckets of `models.tabular.tokens` (N, T) into vectors (N, components).

    `vectors_` is (BUCKETS + 1, components), and `weights_` (BUCKETS + 1,): the row of a text is the sum of its vectors,
    divided by the root of the sum of its weights. The last bucket is the padding of texts with fewer words.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, rows: NDArray[np.float64], values: object = None) -> Self:
        """Fit the inverse document frequencies and the projection to `rows`."""
        counts = _counts(rows)
        frequencies = np.log((1 + counts.shape[0]) / (1 + np.asarray(counts.sum(axis=0)).ravel())) + 1
        self.weights_ = np.append(frequencies**2, 0.0)
        components = max(1, min(_COMPONENTS, counts.shape[0] - 1, len(np.unique(counts.indices)) - 1))
        weighted = counts @ sparse.diags(frequencies)
        projection = TruncatedSVD(components, random_state=self.seed)
        projection.fit(sparse.diags(1 / self._norms(counts)) @ weighted)
        self.vectors_ = np.vstack([frequencies[:, None] * projection.components_.T, np.zeros((1, components))])
        return self

    def transform(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the vectors of `rows`."""
        counts = _counts(rows)
        vectors: NDArray[np.float64] = (counts @ self.vectors_[:-1]) / self._norms(counts)[:, None]
        return vectors

    def _norms(self, counts: sparse.csr_matrix) -> NDArray[np.float64]:
        """Return the length of each text's TF-IDF vector, and 1 for a text without words."""
        squares = counts @ self.weights_[:-1]
        return np.sqrt(np.where(squares > 0, squares, 1.0))


def _counts(rows: NDArray[np.float64]) -> sparse.csr_matrix:
    """Return a matrix (N, BUCKETS) with a 1 for each word of a text."""
    is_word = rows >= 0
    places = np.repeat(np.arange(len(rows)), is_word.sum(axis=1))
    buckets = rows[is_word].astype(np.int64)
    return sparse.csr_matrix((np.ones(len(buckets)), (places, buckets)), shape=(len(rows), BUCKETS))
