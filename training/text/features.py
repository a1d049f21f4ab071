"""The sets of n-grams to choose from, and their TF-IDF columns in cross-validation.

The n-grams of all rows are counted once. A fold then takes the columns that its own training rows have, which gives
what `TfidfVectorizer` fitted on these rows would give, without splitting every text again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from models.text.ngrams import WORD_PATTERN, NgramRange

WORDS = NgramRange("word", 1, 2)
CHARACTERS = NgramRange("char_wb", 1, 3)

# An n-gram of a single row is not used.
MIN_TERM_ROWS = 2


@dataclass(frozen=True, slots=True)
class Splitting:
    """How texts are split, for every set of n-grams."""

    strip_accents: bool
    max_terms: int


def count(texts: Sequence[str], ngrams: NgramRange, splitting: Splitting) -> sparse.csr_matrix | None:
    """Return how often each n-gram is in each text (N, F); None when no n-gram is in two texts."""
    vectorizer = CountVectorizer(dtype=np.float32, **_analysis(ngrams, splitting), min_df=1)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # no text has a single n-gram
        return None
    # The blank at the ends of a word is a character of every text.
    has_common = any(term.strip() for term in vectorizer.get_feature_names_out()[_common(counts)])
    return counts if has_common else None


def fold_columns(
    counts: Sequence[sparse.csr_matrix], train: NDArray[np.int64], test: NDArray[np.int64], *, max_terms: int
) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return the TF-IDF columns of the rows `train` and `test`, weighed by the rows `train` alone."""
    trained, tested = [], []
    for part in counts:
        seen = part[train]
        columns = np.flatnonzero(_common(seen))
        if len(columns) > max_terms:
            frequency = np.asarray(seen.sum(axis=0)).ravel()[columns]
            columns = np.sort(columns[np.argsort(-frequency, kind="stable")[:max_terms]])
        if len(columns):
            weigh = TfidfTransformer(sublinear_tf=True).fit(seen[:, columns])
            trained.append(weigh.transform(seen[:, columns]))
            tested.append(weigh.transform(part[test][:, columns]))
    if not trained:
        return sparse.csr_matrix((len(train), 1)), sparse.csr_matrix((len(test), 1))
    return sparse.hstack(trained, format="csr"), sparse.hstack(tested, format="csr")


def vectorizer(sets: Sequence[NgramRange], splitting: Splitting) -> FeatureUnion:
    """Return the step of a pipeline that turns texts into TF-IDF columns, one part for each set of n-grams."""
    parts = [
        TfidfVectorizer(
            dtype=np.float32,
            **_analysis(ngrams, splitting),
            min_df=MIN_TERM_ROWS,
            max_features=splitting.max_terms,
            sublinear_tf=True,
        )
        for ngrams in sets
    ]
    return FeatureUnion([(ngrams.unit, part) for ngrams, part in zip(sets, parts, strict=True)])


def _analysis(ngrams: NgramRange, splitting: Splitting) -> dict[str, object]:
    options: dict[str, object] = {
        "analyzer": ngrams.unit,
        "ngram_range": (ngrams.shortest, ngrams.longest),
        "strip_accents": "unicode" if splitting.strip_accents else None,
    }
    # scikit-learn warns of a pattern that the analyzer does not use.
    return options | ({"token_pattern": WORD_PATTERN} if ngrams.unit == "word" else {})


def _common(counts: sparse.csr_matrix) -> NDArray[np.bool_]:
    return np.bincount(counts.indices, minlength=counts.shape[1]) >= MIN_TERM_ROWS
