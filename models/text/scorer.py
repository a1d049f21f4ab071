"""Texts in, probabilities out: TF-IDF columns times the coefficients of a linear classifier.

The arithmetic is that of scikit-learn's `TfidfVectorizer` for each group of n-grams, with the vocabulary's options,
followed by a softmax or sigmoids. A row's answer has the same bits alone and in a batch.
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
        stop_words = weights.vocabulary.stop_words
        for group in weights.vocabulary.groups:
            self._indexes.append(TermIndex(group.ngrams, group.terms, first_column=starts[-1], stop_words=stop_words))
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
        if self._weights.vocabulary.one_vs_rest:
            shares = expit(scores)
            total = shares.sum(axis=1, keepdims=True)
            return np.asarray(np.where(total > 0, shares / np.where(total > 0, total, 1.0), 1.0 / shares.shape[1]))
        answers: NDArray[np.float64] = softmax(scores, axis=1)
        return answers

    def _scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        columns = self._columns(texts)
        products = columns @ self._weights.coefficients
        return np.asarray(products, dtype=np.float64) + self._weights.intercept

    def _columns(self, texts: Sequence[str]) -> csr_array:
        """Return the TF-IDF columns of the texts (N, F), of the type of the weights."""
        vocabulary = self._weights.vocabulary
        rows, columns, counts = self._counts(texts)
        values = self._frequencies(counts) * self._weights.idf[columns]
        if vocabulary.norm:
            # Scale each group of each text to length 1.
            groups = rows * len(self._indexes) + self._group_of_column[columns]
            parts = np.abs(values) if vocabulary.norm == "l1" else values**2
            lengths = np.bincount(groups, weights=parts, minlength=len(texts) * len(self._indexes))
            values /= (lengths if vocabulary.norm == "l1" else np.sqrt(lengths))[groups]
        row_starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(texts)))])
        typed = values.astype(self._weights.coefficients.dtype)
        return csr_array((typed, columns, row_starts), shape=(len(texts), vocabulary.size))

    def _frequencies(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        vocabulary = self._weights.vocabulary
        frequencies = np.ones(len(counts)) if vocabulary.binary else counts.astype(np.float64)
        return 1.0 + np.log(frequencies) if vocabulary.sublinear else frequencies

    def _counts(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return row, column and count of each different n-gram of each text, ordered by row and column."""
        vocabulary = self._weights.vocabulary
        indexes, lengths = array("q"), []
        for text in texts:
            before = len(indexes)
            normalized = normalize(text, strip_accents=vocabulary.strip_accents, lowercase=vocabulary.lowercase)
            for index in self._indexes:
                indexes.extend(index.columns(normalized))
            lengths.append(len(indexes) - before)
        width = max(1, self._weights.vocabulary.size)
        keys = np.frombuffer(indexes, dtype=np.int64) if indexes else np.empty(0, np.int64)
        keys = keys + np.repeat(np.arange(len(texts)), lengths) * width
        distinct, counts = np.unique(keys, return_counts=True)
        return distinct // width, distinct % width, counts
