"""A fitted pipeline that classifies texts, as the arrays that serving reads: n-grams and a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.pipeline import FeatureUnion, Pipeline

from models.errors import NotConvertible
from models.text.ngrams import WORD_PATTERN, NgramRange
from models.text.weights import TermGroup, TextWeights, Vocabulary
from training.fitted.answers import Estimator
from training.fitted.refusal import not_convertible

_CLASSIFIERS = "LogisticRegression, SGDClassifier(loss='log_loss') or a naive Bayes"
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Linear:
    """A classifier of columns: coefficients (S, F) and intercepts (S,), S being 1 for two classes."""

    coefficients: Array
    intercept: Array
    one_vs_rest: bool = False


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns that a step makes of texts: their vocabulary, and a factor for each."""

    vocabulary: Vocabulary
    factors: Array


def text_weights(model: Estimator) -> TextWeights:
    """Return the weights of a pipeline of a vectorizer, selectors of features and a linear classifier.

    Raises NotConvertible for anything else.
    """
    if not isinstance(model, Pipeline):
        instead = "fit a pipeline of TfidfVectorizer and a linear classifier"
        raise not_convertible(f"{type(model).__name__} over texts is not converted", instead=instead)
    steps = [step for _, step in model.steps if step not in (None, "passthrough")]
    columns = _columns(steps[0])
    rest = steps[1:-1]
    if rest and isinstance(rest[0], TfidfTransformer):
        columns = _weighed(columns, rest.pop(0))
    linear = _linear(steps[-1])
    for step in reversed(rest):
        if not hasattr(step, "get_support"):
            raise not_convertible(f"{type(step).__name__} over texts is not converted")
        linear = _without_selection(linear, step.get_support())
    if isinstance(steps[-1], BernoulliNB):
        # It looks at whether an n-gram occurs only.
        vocabulary = replace(columns.vocabulary, binary=True, sublinear=False, norm="")
        columns = _Columns(vocabulary, np.ones(vocabulary.size))
    return TextWeights(
        vocabulary=replace(columns.vocabulary, one_vs_rest=linear.one_vs_rest),
        idf=columns.factors,
        coefficients=np.ascontiguousarray(linear.coefficients.T, dtype=np.float64),
        intercept=linear.intercept.astype(np.float64),
    )


def no_probabilities(model: Estimator) -> NotConvertible:
    """Return the error for a model of texts that has none."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    name = type(last).__name__
    if not is_classifier(last):
        return not_convertible(f"{name} over texts is no classifier")
    instead = f"fit CalibratedClassifierCV({name}(...), ensemble=False) in its place"
    return not_convertible(f"{name} has no probabilities", instead=instead)


def _columns(step: Estimator) -> _Columns:
    if isinstance(step, FeatureUnion):
        return _union(step)
    if isinstance(step, Pipeline):
        first, *rest = (each for _, each in step.steps)
        if len(rest) == 1 and isinstance(rest[0], TfidfTransformer):
            return _weighed(_columns(first), rest[0])
    if not isinstance(step, CountVectorizer):
        instead = "use TfidfVectorizer or CountVectorizer"
        raise not_convertible(f"{type(step).__name__} over texts is not converted", instead=instead)
    _check_vectorizer(step)
    terms = tuple(step.get_feature_names_out().tolist())
    vocabulary = Vocabulary(
        (TermGroup(NgramRange(step.analyzer, *step.ngram_range), terms),),
        strip_accents=step.strip_accents == "unicode",
        lowercase=step.lowercase,
        stop_words=tuple(sorted(step.get_stop_words() or ())) if step.analyzer == "word" else (),
        binary=step.binary,
        sublinear=False,
        norm="",
    )
    columns = _Columns(vocabulary, np.ones(len(terms)))
    return _weighed(columns, step._tfidf) if isinstance(step, TfidfVectorizer) else columns


def _check_vectorizer(step: CountVectorizer) -> None:
    name = type(step).__name__
    for option in ("preprocessor", "tokenizer"):
        if getattr(step, option) is not None:
            raise not_convertible(f"{name} with a custom {option} is not converted")
    if step.analyzer not in ("word", "char", "char_wb"):
        raise not_convertible(f"{name} with a custom analyzer is not converted")
    if step.analyzer == "word" and step.token_pattern != WORD_PATTERN:
        raise not_convertible(f"{name} with another token_pattern is not converted", instead="use the default one")
    if step.strip_accents not in (None, "unicode"):
        raise not_convertible(f"{name} with strip_accents='{step.strip_accents}'", instead="use 'unicode'")
    if not hasattr(step, "vocabulary_"):
        raise not_convertible(f"{name} with a fixed vocabulary that is not fitted is not converted")


def _weighed(columns: _Columns, step: TfidfTransformer) -> _Columns:
    factors = columns.factors * (step.idf_ if step.use_idf else 1.0)
    norm: Literal["l1", "l2", ""] = step.norm or ""
    return _Columns(replace(columns.vocabulary, sublinear=step.sublinear_tf, norm=norm), factors)


def _union(union: FeatureUnion) -> _Columns:
    weights = union.transformer_weights or {}
    named = [(name, part) for name, part in union.transformer_list if part != "drop"]
    if any(weights.get(name, 1.0) != 1.0 for name, _ in named):
        raise not_convertible("FeatureUnion with transformer_weights over texts is not converted")
    parts = [_columns(part) for _, part in named]
    first = parts[0].vocabulary
    # Stop words concern n-grams of words only.
    stop_words = next((part.vocabulary.stop_words for part in parts if part.vocabulary.stop_words), ())
    common = [replace(part.vocabulary, groups=(), stop_words=()) for part in parts]
    of_words = {part.vocabulary.stop_words for part in parts if part.vocabulary.groups[0].ngrams.unit == "word"}
    if any(each != common[0] for each in common) or len(of_words) > 1:
        raise not_convertible("FeatureUnion of vectorizers with different options is not converted")
    groups = tuple(group for part in parts for group in part.vocabulary.groups)
    vocabulary = replace(first, groups=groups, stop_words=stop_words)
    return _Columns(vocabulary, np.concatenate([part.factors for part in parts]))


def _linear(model: Estimator) -> _Linear:
    name = type(model).__name__
    if isinstance(model, CalibratedClassifierCV):
        return _calibrated(model)
    if isinstance(model, OneVsRestClassifier):
        parts = [_linear(each) for each in model.estimators_]
        stacked = np.concatenate([part.coefficients for part in parts])
        return _Linear(stacked, np.concatenate([part.intercept for part in parts]), one_vs_rest=len(parts) > 1)
    if isinstance(model, LogisticRegression | LogisticRegressionCV):
        return _Linear(model.coef_, model.intercept_)
    if isinstance(model, SGDClassifier) and model.loss == "log_loss":
        return _Linear(model.coef_, model.intercept_, one_vs_rest=len(model.classes_) > 2)
    if isinstance(model, MultinomialNB):
        return _of_classes(model.feature_log_prob_, model.class_log_prior_)
    if isinstance(model, ComplementNB):
        return _of_classes(model.feature_log_prob_, np.zeros(len(model.classes_)))
    if isinstance(model, BernoulliNB) and model.binarize == 0.0:
        absent = np.log1p(-np.exp(model.feature_log_prob_))
        return _of_classes(model.feature_log_prob_ - absent, model.class_log_prior_ + absent.sum(axis=1))
    raise not_convertible(f"{name} over texts is not converted", instead=f"fit {_CLASSIFIERS}")


def _of_classes(coefficients: Array, intercept: Array) -> _Linear:
    """Return a classifier with one score per class, or the difference of the two."""
    if len(intercept) == 2:
        return _Linear(coefficients[1:] - coefficients[:1], intercept[1:] - intercept[:1])
    return _Linear(coefficients, intercept)


def _calibrated(model: CalibratedClassifierCV) -> _Linear:
    """Return a calibrated classifier: a sigmoid of a s + b is linear in the score s."""
    if len(model.calibrated_classifiers_) > 1 or model.method != "sigmoid":
        instead = "use CalibratedClassifierCV(..., method='sigmoid', ensemble=False)"
        raise not_convertible("several calibrated classifiers, or another method, are not converted", instead=instead)
    (calibrated,) = model.calibrated_classifiers_
    inner = calibrated.estimator
    if not hasattr(inner, "coef_") or not hasattr(inner, "decision_function"):
        raise not_convertible(f"{type(inner).__name__} over texts is not converted", instead=f"fit {_CLASSIFIERS}")
    slopes = np.array([-each.a_ for each in calibrated.calibrators])
    offsets = np.array([-each.b_ for each in calibrated.calibrators])
    coefficients = np.atleast_2d(inner.coef_) * slopes[:, None]
    intercept = np.atleast_1d(inner.intercept_) * slopes + offsets
    return _Linear(coefficients, intercept, one_vs_rest=len(intercept) > 1)


def _without_selection(linear: _Linear, is_used: NDArray[np.bool_]) -> _Linear:
    """Return the classifier over all columns: one that is not used has the coefficient 0."""
    coefficients = np.zeros((len(linear.coefficients), len(is_used)))
    coefficients[:, is_used] = linear.coefficients
    return replace(linear, coefficients=coefficients)


def texts_of(given: Any) -> list[str] | None:
    """Return the texts where `given` is a list, a column or an array of them, else None."""
    if isinstance(given, str) or getattr(given, "ndim", 1) != 1:
        return None
    values: Sequence[Any] = given.tolist() if hasattr(given, "tolist") else given
    if not isinstance(values, list | tuple) or not values or not all(isinstance(each, str) for each in values):
        return None
    return [str(each) for each in values]
