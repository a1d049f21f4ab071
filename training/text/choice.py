"""The choice of a text classifier by cross-validation, and its fit with calibrated probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from models.errors import DataInvalid
from models.text.ngrams import NgramRange
from training.text.features import CHARACTERS, WORDS, Splitting, count, fold_columns, vectorizer

METRIC = "f1_macro"
FIRST_STRENGTH = 10.0
OTHER_STRENGTHS = (1.0, 100.0)

_CALIBRATION_FOLDS = 3
_MAX_ITERATIONS = 1_000
# The order of the candidates is settled long before the coefficients are (22 languages: half the time).
_CHOICE_TOLERANCE = 1e-3
# More rows do not change the choice, and cross-validation fits each candidate once per fold.
_CHOICE_ROWS = 30_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """Sets of n-grams and the inverse strength `c` of the regularization."""

    sets: tuple[NgramRange, ...]
    c: float

    @property
    def name(self) -> str:
        """The name in the card and the report."""
        units = {"word": "words", "char_wb": "characters"}
        return f"logistic regression on {' and '.join(units[each.unit] for each in self.sets)}, C={self.c:g}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The best candidate, and the mean and standard deviation of each candidate's macro F1 over the folds."""

    best: Candidate
    scores: dict[str, tuple[float, float]]


def choose(texts: Sequence[str], values: NDArray[np.int64], splitting: Splitting, *, folds: int, seed: int) -> Choice:
    """Choose the n-grams first, then the regularization, each by cross-validation on stratified folds.

    Raises DataInvalid when no n-gram is in two texts.
    """
    if len(texts) > _CHOICE_ROWS:
        some = np.random.default_rng(seed).choice(len(texts), _CHOICE_ROWS, replace=False)
        texts, values = [texts[row] for row in some], values[some]
    counts = {
        ngrams: counted for ngrams in (WORDS, CHARACTERS) if (counted := count(texts, ngrams, splitting)) is not None
    }
    if not counts:
        raise DataInvalid("no word and no sequence of letters is in two of the texts: nothing can be learnt from them")
    splits = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(texts, values))
    sets = [(WORDS,), (WORDS, CHARACTERS)] if len(counts) == 2 else [tuple(counts)]
    scores: dict[Candidate, tuple[float, float]] = {}
    for each in sets:
        _score(scores, [Candidate(each, FIRST_STRENGTH)], counts, values, splits, splitting)
    best = max(scores, key=lambda candidate: scores[candidate][0])
    others = [Candidate(best.sets, c) for c in OTHER_STRENGTHS]
    _score(scores, others, counts, values, splits, splitting)
    best = max(scores, key=lambda candidate: scores[candidate][0])
    return Choice(best, {candidate.name: score for candidate, score in scores.items()})


def fit(
    texts: Sequence[str], values: NDArray[np.int64], candidate: Candidate, splitting: Splitting, *, classes: int
) -> Pipeline:
    """Fit the candidate on all rows, with its probabilities calibrated on out-of-fold scores.

    Two classes: Platt's sigmoid. More: one temperature for all of them, which few rows suffice for. One model is fitted
    on all rows (`ensemble=False`). Sources: Platt 1999, "Probabilistic outputs for support vector machines"; Guo et al.
    2017, "On calibration of modern neural networks".
    """
    model = CalibratedClassifierCV(
        LogisticRegression(C=candidate.c, max_iter=_MAX_ITERATIONS),
        method="sigmoid" if classes == 2 else "temperature",
        cv=_CALIBRATION_FOLDS,
        ensemble=False,
    )
    pipeline = Pipeline([("features", vectorizer(candidate.sets, splitting)), ("model", model)])
    return pipeline.fit(texts, values)


def _score(
    scores: dict[Candidate, tuple[float, float]],
    candidates: Sequence[Candidate],
    counts: dict[NgramRange, sparse.csr_matrix],
    values: NDArray[np.int64],
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    splitting: Splitting,
) -> None:
    """Add the scores of candidates with the same sets of n-grams to `scores`."""
    by_candidate: dict[Candidate, list[float]] = {candidate: [] for candidate in candidates}
    parts = [counts[ngrams] for ngrams in candidates[0].sets]
    for train, test in splits:
        seen, unseen = fold_columns(parts, train, test, max_terms=splitting.max_terms)
        for candidate in candidates:
            model = LogisticRegression(C=candidate.c, max_iter=_MAX_ITERATIONS, tol=_CHOICE_TOLERANCE)
            predicted = model.fit(seen, values[train]).predict(unseen)
            score = f1_score(values[test], predicted, average="macro", labels=np.unique(values), zero_division=0.0)
            by_candidate[candidate].append(float(score))
    scores |= {candidate: (float(np.mean(f1)), float(np.std(f1))) for candidate, f1 in by_candidate.items()}
