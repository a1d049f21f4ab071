"""Texts in, probabilities out: TF-IDF columns times the coefficients of a linear classifier.

The arithmetic is that of scikit-learn's `TfidfVectorizer(sublinear_tf=True)` for each group of n-grams, with each group
scaled to length 1, followed by a softmax or a sigmoid. A row's answer has the same bits alone and in a batch.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit, softmax

from models.text.ngrams import TermIndex, normalize
from models.text.weights import TextWeights

# More texts are scored in parts, so that a large batch needs no more memory than this many texts.
_PART_TEXTS = 1_024


class TextScorer:
    """Scores texts with one set of weights. Safe to use from several threads."""

    def __init__(self, weights: TextWeights) -> None:
        self._weights = weights
        self._indexes: list[TermIndex] = []
        starts = [0]
        for group in weights.vocabulary.groups:
            self._indexes.append(TermIndex(group.ngrams, group.terms, first_column=starts[-1]))
            starts.append(starts[-1] + len(group.terms))
        self._group_of_column = np.repeat(np.arange(len(self._indexes)), np.diff(starts))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return the probability of each class for N texts, float64 (N, K). Each row sums to 1."""
        if not texts:
            raise ValueError("no texts")
        starts = range(0, len(texts), _PART_TEXTS)
        scores = np.concatenate([self._scores(texts[start : start + _PART_TEXTS]) for start in starts])
        if scores.shape[1] == 1:
            second = expit(scores)
            return np.hstack([1.0 - second, second])
        answers: NDArray[np.float64] = softmax(scores, axis=1)
        return answers

    def _scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        columns = self._columns(texts)
        products = columns @ self._weights.coefficients
        return np.asarray(products, dtype=np.float64) + self._weights.intercept

    def _columns(self, texts: Sequence[str]) -> csr_array:
        """Return the TF-IDF columns of the texts, float32 (N, F)."""
        width = self._weights.vocabulary.size
        rows, columns, counts = self._counts(texts)
        values = (1.0 + np.log(counts)) * self._weights.idf[columns]
        # Scale each group of each text to length 1.
        groups = rows * len(self._indexes) + self._group_of_column[columns]
        lengths = np.sqrt(np.bincount(groups, weights=values**2, minlength=len(texts) * len(self._indexes)))
        values /= lengths[groups]
        row_starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(texts)))])
        return csr_array((values.astype(np.float32), columns, row_starts), shape=(len(texts), width))

    def _counts(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return row, column and count of each different n-gram of each text, ordered by row and column."""
        strip_accents = self._weights.vocabulary.strip_accents
        indexes, lengths = array("q"), []
        for text in texts:
            before = len(indexes)
            normalized = normalize(text, strip_accents=strip_accents)
            for index in self._indexes:
                indexes.extend(index.columns(normalized))
            lengths.append(len(indexes) - before)
        width = max(1, self._weights.vocabulary.size)
        keys = np.frombuffer(indexes, dtype=np.int64) if indexes else np.empty(0, np.int64)
        keys = keys + np.repeat(np.arange(len(texts)), lengths) * width
        distinct, counts = np.unique(keys, return_counts=True)
        return distinct // width, distinct % width, counts
